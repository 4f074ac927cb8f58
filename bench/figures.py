"""One measured figure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with its unit. `most` is the bound that the design sets; None means that there is no bound."""

    name: str
    value: float
    unit: str
    most: float | None = None

    @property
    def within(self) -> bool:
        """Whether the figure's value is within its bound."""
        return self.most is None or self.value <= self.most

    @property
    def shown(self) -> str:
        """The figure's value and unit as text for people."""
        return f"{self.value:,.3g} {self.unit}" if self.value < 100 else f"{self.value:,.0f} {self.unit}"

    @property
    def bound_shown(self) -> str:
        """The figure's bound as text for people, an empty text if there is no bound."""
        return "" if self.most is None else f"≤ {self.most:,g}"

    def record(self) -> dict[str, object]:
        """The figure as JSON for programs."""
        return {"name": self.name, "value": self.value, "unit": self.unit, "most": self.most}
