"""Files of the Hugging Face hub, downloaded once into its own cache, at a commit."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from air.files import UserError


@dataclass(frozen=True)
class Repository:
    """One of the hub at a revision: a commit, or a branch or tag, which may move to another."""

    name: str  #: owner/name
    revision: str
    kind: Literal["dataset", "model"]
    instead: str  #: what to do if the hub does not give a file

    @property
    def pinned(self) -> bool:
        """Whether ``revision`` is a commit, which always means the same files."""
        return re.fullmatch("[0-9a-f]{40}", self.revision) is not None

    def resolved(self, file: str) -> Self:
        """The same at the commit that its branch or tag stands for at this moment.

        Args:
            file: that it holds, by which the hub is asked.

        Raises:
            UserError: the hub cannot be asked, or knows no such repository, revision or file.
        """
        if self.pinned:
            return self
        hub = self._hub()
        try:
            commit = self._ask(hub, file).commit_hash
        except Exception as error:  # the hub's many kinds
            raise self._refused(file, error) from None
        return self._at(commit)

    def listed(self) -> tuple[Self, list[str]]:
        """The same at its commit, and the names of all files there (of a model).

        Raises:
            UserError: as :meth:`resolved`.
        """
        hub = self._hub()
        try:
            found = hub.HfApi().model_info(self.name, revision=self.revision)
        except Exception as error:  # the hub's many kinds
            raise self._refused("the list of files", error) from None
        return self._at(found.sha), [entry.rfilename for entry in found.siblings or []]

    def get(self, file: str) -> Path:
        """A file at the revision, from the hub's cache if it is there.

        Raises:
            UserError: as :meth:`resolved`, or it cannot be downloaded whole.
        """
        hub = self._hub()
        which = {"repo_type": self.kind, "revision": self.revision}
        try:
            if not isinstance(hub.try_to_load_from_cache(self.name, file, **which), str):
                self._ask(hub, file)  # which fails at once; the download tries for a minute
            return Path(hub.hf_hub_download(self.name, file, **which))
        except Exception as error:  # the hub's many kinds: no network, no such file, no space
            raise self._refused(file, error) from None

    def _at(self, commit: object) -> Self:
        found = replace(self, revision=str(commit))
        if not found.pinned:
            raise UserError(
                f"{self.name}: the hub does not say which commit {self.revision} is; "
                "set revision to a commit (40 hexadecimal digits)"
            )
        return found

    def _hub(self) -> Any:
        """The package huggingface_hub, which nothing else needs."""
        try:
            import huggingface_hub
        except ImportError:
            raise UserError(
                f"{self.name}: to read from the hub needs the package huggingface_hub; install it, "
                f"or {self.instead}"
            ) from None
        return huggingface_hub

    def _ask(self, hub: Any, file: str) -> Any:
        """What the hub says of a file, or raises."""
        url = hub.hf_hub_url(self.name, file, repo_type=self.kind, revision=self.revision)
        return hub.get_hf_file_metadata(url)

    def _refused(self, file: str, error: Exception) -> UserError:
        """What to say of a file that the hub did not give."""
        from huggingface_hub import errors

        revision = self.revision[:12] if self.pinned else self.revision
        said = str(error).strip().splitlines()
        why = f"{type(error).__name__}: {said[0] if said else 'no reason given'}"
        if isinstance(error, errors.RepositoryNotFoundError):
            kind = {"dataset": "data set", "model": "model"}[self.kind]
            why = f"there is no such {kind}, or it is not open to you"
        elif isinstance(error, errors.RevisionNotFoundError):
            why = "it has no such branch, tag or commit"
        elif isinstance(error, errors.LocalEntryNotFoundError) or (
            isinstance(error, ConnectionError) or type(error).__name__.startswith("Connect")
        ):
            why = f"no network, or the hub does not answer; {why}"
        elif isinstance(error, errors.EntryNotFoundError):
            why = "it has no such file"
        return UserError(
            f"{self.name}: cannot get {file} at revision {revision} ({why}); {self.instead}"
        )
