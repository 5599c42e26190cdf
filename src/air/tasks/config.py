"""Where a task's puzzles come from: the ``data`` sections of params.yaml, one class per source."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(gt=0, le=10_000_000)]


class Data(BaseModel):
    """What every source has in common."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    train: Count = Field(description="training puzzles (groups)")
    test: Count | None = Field(description="test puzzles; null for all that a file has")
    seed: int = Field(0, ge=0, lt=2**63)


class Generated(Data):
    source: Literal["generate"]
    test: Count = Field(description="test puzzles")


class Csv(Data):
    """Two files in the public data sets' format: columns source, question, answer, rating."""

    source: Literal["csv"]
    train_path: str = Field(description="CSV file from which the training puzzles are drawn")
    test_path: str = Field(description="CSV file of the test puzzles")
    on_bad_row: Literal["stop", "skip"] = Field(
        "stop", description="stop at a row that is no puzzle, or skip and count it"
    )


class HuggingFace(Data):
    """The same files, downloaded once into the hub's own cache."""

    source: Literal["huggingface"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="data set, as owner/name")
    revision: str = Field(
        pattern=r"^[0-9a-f]{40}$", description="commit of the data set, 40 hexadecimal digits"
    )
    train_file: str = Field("train.csv")
    test_file: str = Field("test.csv")
    on_bad_row: Literal["stop", "skip"] = Field("stop")


class _Sudoku(BaseModel):
    box: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(
        description="rows and columns of a box: [2, 2] is 4 x 4, [2, 3] is 6 x 6, [3, 3] is 9 x 9"
    )
    augmentations: int = Field(1000, gt=0, description="members per group, the original included")

    @model_validator(mode="after")
    def _box_fits(self) -> "_Sudoku":
        rows, columns = self.box
        if not (1 <= rows <= columns and 4 <= rows * columns <= 16):
            raise ValueError(
                f"box {self.box} is not allowed: rows <= columns, and 4 to 16 cells, such as [2, 3]"
            )
        return self


class SudokuGenerated(_Sudoku, Generated):
    clues: Count | Literal["minimal"] = Field(
        description="given cells per puzzle; minimal: none can be spared"
    )
    rating: Annotated[list[int | None], Field(min_length=2, max_length=2)] = Field(
        [0, None], description="least and greatest number of the solver's dead ends; null: no limit"
    )

    @model_validator(mode="after")
    def _clues_fit(self) -> "SudokuGenerated":
        cells = (self.box[0] * self.box[1]) ** 2
        if self.clues != "minimal" and self.clues >= cells:
            raise ValueError(f"clues must be below the board's {cells} cells")
        least, greatest = self.rating
        if (
            least is None
            or not 0 <= least < 2**31
            or (greatest is not None and not least <= greatest < 2**31)
        ):
            raise ValueError(
                f"rating {self.rating} is not allowed: least and greatest, such as [15, null]"
            )
        return self


class SudokuCsv(_Sudoku, Csv):
    pass


class SudokuHuggingFace(_Sudoku, HuggingFace):
    pass


class _Maze(BaseModel):
    size: int = Field(ge=3, le=64, description="cells on a side")
    augmentations: int = Field(
        1, ge=1, le=8, description="members per group: 1 (the paper) to 8 (all dihedral images)"
    )


class MazeGenerated(_Maze, Generated):
    walls: float = Field(gt=0, lt=1, description="share of cells drawn as walls")
    min_path: int = Field(
        ge=3, le=4096, description="cells on the shortest path, start and goal included, at least"
    )


class MazeCsv(_Maze, Csv):
    pass


class MazeHuggingFace(_Maze, HuggingFace):
    pass


Source = Field(discriminator="source")
SudokuData = Annotated[SudokuGenerated | SudokuCsv | SudokuHuggingFace, Source]
MazeData = Annotated[MazeGenerated | MazeCsv | MazeHuggingFace, Source]
