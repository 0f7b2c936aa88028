"""Decides what to do about one ModelDeployment. Pure: everything comes from `State`, gathered once from what is observed.

- `state` gathers spec, live Deployment, revisions, pins and what the last status recorded.
- `planner` makes the plan: the update and target revision (`target`), the desired children, and the actions, in order.
- `verdict` judges which revision has failed, is complete, is current; the status formats its judgement.
"""

from slipway.decide.plan import Plan
from slipway.decide.planner import make_plan
from slipway.decide.state import State
from slipway.decide.verdict import Judgement, judge

__all__ = ["Judgement", "Plan", "State", "judge", "make_plan"]
