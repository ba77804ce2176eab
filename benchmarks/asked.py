"""How every proof says what was asked and what was got: one line each, which `prove.py` counts."""

from dataclasses import dataclass

OK, MISS = "ok  ", "MISS"


def line(met: bool, what: str, asked: str, got: str) -> str:
    """Prints one line: whether it is met, what was measured, what was asked and what was got. And returns it."""
    text = f"{OK if met else MISS} {what}: asked {asked}, got {got}"
    print(text, flush=True)
    return text


@dataclass(frozen=True)
class Target:
    """What a ratio says, and the figure it must reach: at least `bound`, or at most where `smaller` is better."""

    meaning: str
    bound: float
    smaller: bool = False

    def __str__(self) -> str:
        return f"at {'most' if self.smaller else 'least'} {self.bound:g}"

    def met(self, value: float) -> bool:
        return value <= self.bound if self.smaller else value >= self.bound

    def judge(self, value: float) -> None:
        """Prints whether a figure reaches it."""
        line(self.met(value), self.meaning, str(self), f"{value:.3g}")

    def row(self, value: float) -> str:
        """The end of a row of a page's table: meaning, asked, got, and whether that is met."""
        return f"| {self.meaning} | {self} | {value:.3g} | {'met' if self.met(value) else '**missed**'} |"
