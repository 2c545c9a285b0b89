"""Progress: what a person sees on stderr."""

from __future__ import annotations

import io

from rich.console import Console

from kyphos.experiments import RichReporter, SilentReporter, Step


def tell(reporter):
    reporter.run_started("demo", ["intact", "cycle_1"], resumed_after="intact")
    reporter.stage_started(1, "cycle_1", "cycle")
    reporter.step(Step(0.5, load_n=600.0, cycle=250, iterations=3, residual_n=2e-5))
    reporter.stage_finished("cycle_1", 12.3, "loss 0.4 mm")
    reporter.message("[done]")
    reporter.close()
    reporter.close()


def test_off_a_terminal_there_is_one_line_per_stage():
    stream = io.StringIO()
    tell(RichReporter(Console(file=stream, force_terminal=False, width=200)))
    lines = stream.getvalue().splitlines()
    assert lines == ["demo: 2 stages, resumed after intact", "  cycle_1        12.3 s  loss 0.4 mm", "[done]"]


def test_on_a_terminal_the_state_is_drawn():
    stream = io.StringIO()
    reporter = RichReporter(Console(file=stream, force_terminal=True, width=200))
    reporter.run_started("demo", ["cycle_1"])
    reporter.stage_started(0, "cycle_1", "cycle")
    reporter.step(Step(0.5, load_n=600.0, cycle=250, iterations=3, residual_n=2e-5))
    reporter.close()
    assert "cycle 250  600 N  3 iterations  residual 2.0e-05 N" in stream.getvalue()


def test_silence(capsys):
    tell(SilentReporter())
    assert capsys.readouterr() == ("", "")
