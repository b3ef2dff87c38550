"""Traces: coefficient tables of schedulers, against Diffusers fed with basis vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coefficients import SCHEDULE, SPACINGS, read_diffusers, read_ipndm, read_ours, supports
from ldm_core.conformance.trace import LinearForm, trace
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from peers import COUNTERPARTS, DPM_MULTI, DPM_SINGLE, SDE, Counterpart

LEAST = {"final_sigmas_type": "sigma_min"}
VARIANTS = {
    **COUNTERPARTS,
    "ddim": Counterpart("ddim", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "pndm": Counterpart("pndm", "PNDMScheduler", {"skip_prk_steps": True}),
    "pndm, Runge-Kutta": Counterpart("pndm", "PNDMScheduler", {}, {"warmup": "runge_kutta"}),
    "dpmpp_2m, heun": Counterpart(
        "dpmpp_2m", DPM_MULTI, {"solver_type": "heun"}, {"solver_type": "heun"}
    ),
    "dpmpp_2m_sde, heun": Counterpart(
        "dpmpp_2m_sde", DPM_MULTI, {**SDE, "solver_type": "heun"}, {"solver_type": "heun"}
    ),
    "dpmpp_3m, heun": Counterpart(
        "dpmpp_3m",
        DPM_MULTI,
        {"solver_order": 3, "solver_type": "heun"},
        {"curvature": "half", "solver_type": "heun"},
    ),
    **{
        f"deis, {order}": Counterpart(
            "deis", "DEISMultistepScheduler", {"solver_order": order}, {"order": order}
        )
        for order in (1, 2, 3)
    },
    **{
        f"unipc, {order}, {variant}, {'lower' if lower else 'same'}": Counterpart(
            "unipc",
            "UniPCMultistepScheduler",
            {"solver_order": order, "solver_type": variant, "lower_order_final": lower, **LEAST},
            {"order": order, "variant": variant, "lower_order_final": lower},
        )
        for order in (1, 2, 3)
        for variant in ("bh1", "bh2")
        for lower in (True, False)
    },
    **{
        f"{name}, {'lower' if lower else 'same'}": Counterpart(
            name,
            DPM_MULTI,
            {**COUNTERPARTS[name].settings, "lower_order_final": lower, **LEAST},
            {**COUNTERPARTS[name].options, "lower_order_final": lower},
        )
        for name in ("dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde")
        for lower in (True, False)
    },
    **{
        f"dpmpp_single, {order}, {solver}": Counterpart(
            "dpmpp_single",
            DPM_SINGLE,
            {"solver_order": order, "solver_type": solver},
            {"order": order, "solver_type": solver},
        )
        for order in (1, 2, 3)
        for solver in ("midpoint", "heun")
    },
    **{
        f"dpmpp_single, {order}, {solver}, SDE": Counterpart(
            "dpmpp_single",
            DPM_SINGLE,
            {"solver_order": order, "solver_type": solver, **SDE},
            {"order": order, "solver_type": solver, "eta": 1.0, "one_path": False},
        )
        for order, solver in ((1, "midpoint"), (2, "midpoint"), (2, "heun"), (3, "midpoint"))
    },
    **{
        f"dpmpp_single, {order}, {'lower' if lower else 'same'}": Counterpart(
            "dpmpp_single",
            DPM_SINGLE,
            {"solver_order": order, "lower_order_final": lower, **LEAST},
            {"order": order, "lower_order_final": lower},
        )
        for order in (2, 3)
        for lower in (True, False)
    },
}
"""Ours against theirs, with every setting that both have."""

MANY = ("leading", "trailing", "linspace", "karras")
SPACINGS_OF = {
    # These two subtract a constant stride from the timestep to find the next, and so miss the
    # points of linspace.
    "DDIMScheduler": ("default", "leading", "trailing"),
    "PNDMScheduler": ("default", "leading", "trailing"),
    # This one ends karras where its last evaluation was, by a step that goes nowhere.
    "DEISMultistepScheduler": ("leading", "trailing", "linspace"),
    DPM_SINGLE: ("default", "karras", "exponential"),
}
CASES = [
    (label, spacing)
    for label, peer in VARIANTS.items()
    for spacing in SPACINGS_OF.get(peer.cls, MANY)
    if supports(peer.cls, SPACINGS[spacing])
    # So do the others where they are told to end at the least sigma.
    if not ("final_sigmas_type" in peer.settings and spacing in ("karras", "exponential"))
]


@pytest.mark.parametrize(("label", "spacing"), CASES)
def test_the_table_is_that_of_diffusers(
    label: str, spacing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every evaluation's x, coefficient by coefficient, on the points that Diffusers walks."""
    peer = VARIANTS[label]
    for steps in (5, 20, 50):
        config = {**peer.settings, **SPACINGS[spacing]}
        theirs = read_diffusers(peer.cls, config, steps, monkeypatch)
        ours = read_ours(peer.name, dict(peer.options), theirs.grid)
        assert ours.rows.shape == theirs.rows.shape
        # Cancelling coefficients are larger than one.
        difference = np.abs(ours.rows - theirs.rows).max() / np.abs(ours.rows).max()
        print(f"{steps} steps: {difference:.1e} of the largest coefficient")
        assert difference < 1e-5
        for here, there in zip(ours.points, theirs.points, strict=True):
            assert here.ratio == pytest.approx(there.ratio, rel=1e-5)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace", "karras"])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_the_table_of_ipndm_is_that_of_diffusers(spacing: str, steps: int) -> None:
    """On points given to it; those of its own are another matter."""
    options: dict[str, Any] = {} if spacing == "karras" else {"final": "sigma_min"}
    points = with_options(installed().find("spacing", spacing).loaded, options)(SCHEDULE, steps)
    theirs = read_ipndm(points)
    ours = read_ours("ipndm", {}, theirs.grid)
    np.testing.assert_allclose(ours.rows, theirs.rows, atol=1e-5 * np.abs(ours.rows).max())


def test_one_step_of_euler_by_hand() -> None:
    grid = Grid([Point(0.6, 0.8, 9.0), Point(0.8, 0.6, 5.0)], vp_schedule())
    found = trace(with_options(installed().find("scheduler", "euler").loaded, {}), grid)
    assert found.symbols == ["x", "x0[0]"]
    assert found.end["x"] == pytest.approx(0.75)
    assert found.end["x0[0]"] == pytest.approx(0.8 - 0.75 * 0.6)
    assert found.calls[0].point == grid[0]
    assert found.calls[0].x["x"] == 1.0


@pytest.mark.parametrize("name", sorted({peer.name for peer in VARIANTS.values()}))
def test_a_table_keeps_the_scale_of_a_constant(name: str) -> None:
    """Where x = alpha·c and every estimate is c, the end must be c: rows sum to one."""
    schedule = vp_schedule()
    grid = Grid(
        with_options(installed().find("spacing", "karras").loaded, {})(schedule, 15), schedule
    )
    found = trace(with_options(installed().find("scheduler", name).loaded, {}), grid)
    total = found.end["x"] * grid[0].alpha
    total += sum(found.end[f"x0[{i}]"] for i in range(len(found.calls)))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_a_scheduler_that_is_not_linear_says_so() -> None:
    def thresholding(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return denoise(x, grid[0]).clamp(-1, 1)

    with pytest.raises(LdmError, match="not linear"):
        trace(thresholding, Grid([Point(0.6, 0.8, 9.0), Point(0.8, 0.6, 5.0)], vp_schedule()))
    with pytest.raises(TypeError):
        LinearForm({"x": 1.0}) * LinearForm({"x": 1.0})  # type: ignore[operator]
