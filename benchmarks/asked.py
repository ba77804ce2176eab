"""How every proof says what was asked and what was got: one line each, which `prove.py` counts."""

OK, MISS = "ok  ", "MISS"


def line(met: bool, what: str, asked: str, got: str) -> str:
    """Prints one line: whether it is met, what was measured, what was asked and what was got. And returns it."""
    text = f"{OK if met else MISS} {what}: asked {asked}, got {got}"
    print(text, flush=True)
    return text
