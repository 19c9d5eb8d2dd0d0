"""What an HSM will cost, and which one: prices, limits, break-even points and phases. Opens nothing."""

from icehouse.planner.choice import Choice
from icehouse.planner.coefficients import Custody
from icehouse.planner.constraint import Constraints
from icehouse.planner.scenario import Scenario
from icehouse.planner.verdict import Plan, Verdict, plan

__all__ = ["Choice", "Constraints", "Custody", "Plan", "Scenario", "Verdict", "plan"]
