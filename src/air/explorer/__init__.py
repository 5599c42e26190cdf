"""The explorer: a page that runs trained models in the reader's browser.

``model.js`` is ``air.model`` in JavaScript, ``export`` gives it weights and puzzles, and ``page``
puts both into one file; ``worker.js``, ``puzzles.js`` and ``app.js`` are what the page does.
"""
