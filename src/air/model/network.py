"""AIR: two states, one network, and the recurrence that everything walks::

    L-update:  z_L <- f(z_L + z_H + n_L x)        H-update:  z_H <- f(z_H + z_L + n_H x)

A segment is, H_cycles times, L_cycles L-updates and one H-update. Training, evaluation and every
probe call :meth:`AIR.segment`; nothing else updates a state.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from air.model.config import ModelConfig
from air.model.layers import (
    AttentionHook,
    Linear,
    Transformer,
    hold,
    release,
    rope_tables,
    truncated_normal,
    widen,
)
from air.model.variants import Variant

ROOT_HALF = 0.707106781  # 1 / sqrt(2) with the nine digits of the authors' implementation

Level = Literal["L", "H"]
Precision = Literal["float32", "bfloat16", "float64"]
Gradient = Literal["one_step", "last_cycle", "full"]


class Update(NamedTuple):
    """Which update of a segment: its level, and its H- and L-cycle, counted from 0."""

    level: Level
    H_cycle: int
    L_cycle: int


class Heads(NamedTuple):
    """What the heads read from z_H: logits [B, S, V]; halt and continue logits [B]."""

    logits: Tensor
    q_halt: Tensor
    q_continue: Tensor


class Observer:
    """Sees every update of a segment. The default sees and does nothing."""

    def attention(self, update: Update) -> AttentionHook | None:
        """Called before an update: a hook that is to see its queries and keys, or None."""
        return None

    def after(self, update: Update, z_L: Tensor, z_H: Tensor) -> None:
        """Called after an update (also one that freezing left out) with the states [B, P, d]."""


class AIR(nn.Module):
    """A variant of AIR for boards of ``cells`` tokens out of ``vocabulary``.

    A state has P = ``lead`` + cells positions: the slots in front, the first of them the puzzle
    embedding's (and, for prepend_no_strip, the level token before them), then the content.
    """

    origin: Mapping[str, Any]  # of a model read from a file: how it came to be
    H_init: Tensor
    L_init: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        config: ModelConfig,
        variant: Variant,
        vocabulary: int,
        cells: int,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.variant = config, variant
        self.vocabulary, self.cells, self.precision = vocabulary, cells, precision
        if precision not in get_args(Precision):
            raise ValueError(f"precision {precision!r} is none of {', '.join(get_args(Precision))}")
        self.dtype: torch.dtype = getattr(torch, precision)
        self.compiled = False
        d = config.hidden_size
        token = variant.level_token
        self.lead = config.slots + (1 if token == "prepend_no_strip" else 0)
        # positions that the attention sees in front of the content
        self.attention_lead = self.lead + (1 if token == "prepend" else 0)

        random = torch.Generator().manual_seed(seed)
        std = d**-0.5  # of the embeddings, which are scaled by sqrt(d) on use
        self.embedding = nn.Parameter(truncated_normal(vocabulary, d, std=std, generator=random))
        self.puzzle_embedding = nn.Parameter(torch.zeros(1, d))
        if config.positions in ("learned", "both"):
            self.position_embedding = nn.Parameter(
                truncated_normal(config.slots + cells, d, std=std, generator=random)
            )
        stacks = 2 if variant.two_networks else 1
        positions = self.attention_lead + cells  # that f sees
        self.stacks = nn.ModuleList(Transformer(config, positions, random) for _ in range(stacks))
        if variant.operator in ("linear", "nonlinear"):
            self.operator = Linear(d, d, random)
        self.lm_head = Linear(d, vocabulary, random)
        self.q_head = nn.Linear(d, 2)
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)
        self.register_buffer("H_init", truncated_normal(d, std=1.0, generator=random))
        self.register_buffer("L_init", truncated_normal(d, std=1.0, generator=random))

        master = torch.float64 if self.dtype == torch.float64 else torch.float32
        self.to(master)
        if token != "none":  # held in the activations' dtype, as published
            self.level_tokens = nn.ParameterDict(
                {level: nn.Parameter(torch.zeros(d, dtype=self.dtype)) for level in ("L", "H")}
            )
        cos, sin = rope_tables(positions, d // config.heads, master)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @property
    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    def embed(self, inputs: Tensor) -> Tensor:
        """x [B, P, d] from tokens [B, S]: embedding, slots in front, positions, times sqrt(d)."""
        slots = self.config.slots
        x = F.embedding(inputs, self.embedding.to(self.dtype))
        front = F.pad(self.puzzle_embedding.to(self.dtype), (0, 0, 0, slots - 1))
        x = torch.cat([front.expand(len(inputs), slots, -1), x], dim=1)
        if self.config.positions in ("learned", "both"):
            # the sum of two, scaled back to the variance of one
            x = (x + self.position_embedding.to(self.dtype)) * ROOT_HALF
        x = x * self.config.hidden_size**0.5
        # prepend_no_strip: x is zero at the level token
        return F.pad(x, (0, 0, self.lead - slots, 0))

    def fresh_states(self, batch: int) -> tuple[Tensor, Tensor]:
        """(z_L, z_H) at the start of a rollout, each [B, P, d]."""
        return self._fresh("L", batch), self._fresh("H", batch)

    def _fresh(self, level: Level, batch: int) -> Tensor:
        start = self.L_init if level == "L" else self.H_init
        state = start.to(self.dtype).expand(batch, self.config.slots + self.cells, -1)
        if self.variant.level_token == "prepend_no_strip":
            token = self.level_tokens[level].expand(batch, 1, -1)
            state = torch.cat([token, state], dim=1)
        return state

    def inject(self, level: Level, own: Tensor, other: Tensor, x: Tensor) -> Tensor:
        """The sum that enters f: own + other + n g(x), or own + (own + other) * n x (hadamard)."""
        n = self.variant.n_L if level == "L" else self.variant.n_H
        if n == 0:
            return own + other
        match self.variant.operator:
            case "hadamard":
                return own + (other + own) * (n * x)
            case "linear":
                x = self.operator(x)
            case "nonlinear":
                x = torch.tanh(self.operator(x))
        return own + other + (x if n == 1 else n * x)

    def update(
        self,
        level: Level,
        own: Tensor,
        other: Tensor,
        x: Tensor,
        hook: AttentionHook | None = None,
    ) -> Tensor:
        """One update: the new own state [B, P, d] from both states and x, each [B, P, d]."""
        h = self.inject(level, own, other, x)
        token = self.variant.level_token
        if token == "addition":
            h = h + self.level_tokens[level]
        elif token == "prepend":
            h = torch.cat([self.level_tokens[level].expand(len(h), 1, -1), h], dim=1)
        rope = None
        if self.config.positions in ("rope", "both"):
            rope = self.cos[: h.shape[1]], self.sin[: h.shape[1]]
        h = self.stacks[0 if level == "L" else -1](h, rope, hook)
        return h[:, 1:] if token == "prepend" else h

    def segment(
        self,
        x: Tensor,
        z_L: Tensor,
        z_H: Tensor,
        frozen: Level | None = None,
        observer: Observer | None = None,
        gradient: Gradient = "one_step",
    ) -> tuple[Tensor, Tensor]:
        """One segment from x, z_L, z_H (each [B, P, d]): the new (z_L, z_H).

        A ``frozen`` state keeps its value; ``observer`` still hears of its updates. Which updates
        carry a gradient: the last of each level (``one_step``, the paper's), all of the last
        H-cycle, or all.
        """
        config = self.config
        wanted = torch.is_grad_enabled()

        def step(update: Update, own: Tensor, other: Tensor) -> Tensor:
            if update.level == frozen:
                return own
            last_cycle = update.H_cycle == config.H_cycles - 1
            last = last_cycle and (update.level == "H" or update.L_cycle == config.L_cycles - 1)
            carries = {"one_step": last, "last_cycle": last_cycle, "full": True}[gradient]
            hook = observer.attention(update) if observer else None
            with torch.set_grad_enabled(wanted and carries):
                return self.update(update.level, own, other, x, hook)

        for H_cycle in range(config.H_cycles):
            for L_cycle in range(config.L_cycles):
                update = Update("L", H_cycle, L_cycle)
                z_L = step(update, z_L, z_H)
                if observer:
                    observer.after(update, z_L, z_H)
            update = Update("H", H_cycle, 0)
            z_H = step(update, z_H, z_L)
            if observer:
                observer.after(update, z_L, z_H)
        return z_L, z_H

    def compile_f(self) -> None:
        """Compile f with torch.compile: one graph for the updates with a gradient, one without."""
        self.compiled = True
        for stack in self.stacks:
            stack.compile(dynamic=False)

    @contextmanager
    def weights_held(self) -> Iterator[None]:
        """Within, the weights are cast once and not at each use: for inference, many calls of f.

        They must not change meanwhile; what was made of them is dropped at the end, whatever ends
        it. Nothing is held of float32 and float64 models, and of a compiled one, whose graphs cast.
        """
        if self.compiled or self.dtype == self.embedding.dtype:
            yield
            return
        hold(self, self.dtype)
        try:
            yield
        finally:
            release(self)

    def decode(self, z: Tensor) -> Tensor:
        """Logits [B, S, V] that lm_head reads from the content of a state [B, P, d]."""
        logits: Tensor = self.lm_head(z[:, self.lead :])
        return logits

    def heads(self, z_H: Tensor) -> Heads:
        """What both heads read from z_H [B, P, d]; the q logits in float32 at least."""
        weight, bias = (p.to(z_H.dtype) for p in (self.q_head.weight, self.q_head.bias))
        q_halt, q_continue = widen(F.linear(z_H[:, 0], weight, bias)).unbind(-1)
        return Heads(self.decode(z_H), q_halt, q_continue)


def count_parameters(config: ModelConfig, variant: Variant, vocabulary: int, cells: int) -> int:
    """Trained numbers of a model, counted without making it."""
    with torch.device("meta"):
        return AIR(config, variant, vocabulary, cells).parameter_count
