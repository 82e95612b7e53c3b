"""`flowguard explain`: requests and answers are played as they would really go, and it is said why."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from test_cli import called, elsewhere, write  # noqa: F401 - the fixture is for all of this module
from visitor import SECRET, Application, Visitor, led

from flowguard import FlowGuard
from flowguard.cli import main
from flowguard.core.outcome import ROWS
from flowguard.core.passage import LINES, says

SHOP = """
back = "edit"
[paths."/cart"]
to = ["/shipping"]
repeat = true
[paths."/shipping"]
to = ["/payment"]
submit = true
[paths."/payment"]
to = ["/done"]
once = true
[paths."/done"]
"""


def explained(capsys: Any, *steps: str, text: str = SHOP, code: int = 0, options: tuple[str, ...] = ()) -> list[str]:
    """What is printed for each request; each as one text."""
    assert main(["explain", write(text), *options, *steps]) == code
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.rstrip().split("\n\n")


def test_a_request_is_told_with_its_line_its_row_and_the_run_after_it(capsys):
    assert explained(capsys, "GET /cart", "200", "POST /shipping", "303 /payment") == [
        "GET /cart\n"
        "  passed   by line 1: No run: it begins, if /cart is a start\n"
        "  answer   200: 2xx, for a safe request\n"
        "  meaning  entered\n"
        "  run      /cart",
        "POST /shipping\n"
        "  passed   by line 4: /cart -> /shipping is declared, and was not yet taken or /shipping is `repeat`\n"
        f"  answer   303 /payment: {ROWS[2].says.replace('S', '/shipping')}\n"
        "  meaning  success\n"
        "  run      /cart -> /shipping (done)",
    ]


def test_a_refusal_is_told_with_what_is_missing_and_the_target(capsys):
    *_, refused = explained(capsys, "GET /cart", "GET /shipping", "GET /payment", code=1)
    assert refused == (
        "GET /payment\n"
        "  refused  skipped, by line 4: /shipping -> /payment is declared, and was not yet taken or /payment is "
        "`repeat`\n"
        "  says     A step before this one is not finished yet. Please finish that one first.\n"
        "  missing  /shipping\n"
        "  target   /shipping\n"
        "  answer   303 to /shipping, from the guard\n"
        "  run      /cart -> /shipping"
    )


def test_requirements_of_which_any_would_do_are_told_so(capsys):
    text = ('[paths."/a"]\nto = ["/b", "/c", "/d"]\n[paths."/b"]\nto = ["/d"]\n[paths."/c"]\nto = ["/d"]\n'
            '[paths."/d"]\nrequires = [["/b", "/c"]]\n')  # fmt: skip
    assert "  missing  /b or /c\n" in explained(capsys, "GET /a", "GET /d", text=text, code=1)[1]


WAYS = ("GET /cart", "POST /shipping", "204", "GET /payment")


@pytest.mark.parametrize(("answer", "meaning", "run"), [
    ("303 /done", "success", "/payment (done, spent)"), ("303 /elsewhere", "unknown", "/payment (spent)"),
    ("303 https://pay.example/", "unknown", "/payment (spent)"), ("200", "shown", "/payment"),
    ("200 application/json", "success", "/payment (done, spent)"), ("200 success", "success", "/payment (done, spent)"),
    ("422", "failed", "/payment"), ("500", "unknown", "/payment (spent)"), ("raises", "unknown", "/payment (spent)"),
    ("204", "success", "/payment (done, spent)"), ("302 /cart", "failed", "/payment"),
], ids=str)  # fmt: skip
def test_every_answer_can_be_given(answer, meaning, run, capsys):
    told = explained(capsys, *WAYS, "POST /payment", answer)[-1]
    assert f"\n  meaning  {meaning}\n" in told
    assert told.endswith(f"\n  run      /cart -> /shipping (done) -> {run}")


def test_where_no_answer_is_given_it_is_one_that_counts(capsys):
    told = explained(capsys, "GET /cart", "POST /shipping", "POST /payment", "GET /done")
    assert told[-1].endswith("run      /cart -> /shipping (done) -> /payment (done, spent) -> /done, finished")


def test_a_text_of_the_answer_is_looked_for(capsys):
    text = SHOP.replace("once = true", 'once = true\naccept = ["body:Thank you"]')
    told = explained(capsys, *WAYS, "POST /payment", "200 body:<p>Thank you!", text=text)[-1]
    assert "answer   200: matches `accept`\n  meaning  success" in told


def test_a_form_is_sent_and_time_passes(capsys):
    Path("rules_of_explain.py").write_text('def agrees(c): return c.request.form.get("terms") == "yes"\n', "utf-8")
    text = ('[paths."/a"]\nmin_seconds = 30\nto = {"/b" = "rules_of_explain:agrees"}\n[paths."/b"]\n')  # fmt: skip
    told = explained(capsys, "GET /a", "POST /b terms=yes", "+29.5", "POST /b terms=yes", "+1", "POST /b terms=no",
                     "POST /b terms=yes&x=1", text=text, code=1)  # fmt: skip
    assert [" ".join(one.splitlines()[1].split()[:2]) for one in told] == [
        "passed by", "refused too_fast,", "refused too_fast,", "refused condition,", "passed by",
    ]  # fmt: skip
    assert told[2].startswith("POST /b terms=yes  (29.5 s later)\n")


def test_what_belongs_to_no_flow_and_what_the_guard_answers_itself_is_told(capsys):
    told = explained(capsys, "GET /other", "GET //cart?a=1", "POST //cart", code=1)
    assert told[0] == "GET /other\n  passed   untouched: it belongs to no flow\n  run      none"
    assert told[1] == "GET //cart?a=1\n  answered by the guard itself\n  answer   308 to /cart?a=1, from the guard\n" \
                      "  run      none"  # fmt: skip
    assert told[2].splitlines()[1] == "  refused  path, by no line of the contract"


def test_a_companion_is_told_by_its_own_rule(capsys):
    text = f'{SHOP}[paths."/help"]\nwithin = ["/shipping"]\n'
    told = explained(capsys, "GET /help", "GET /cart", "GET /shipping", "GET /help", text=text, code=1)
    rule = says(0)
    assert f"refused  illegal, by {rule}" in told[0]
    assert f"passed   by {rule}" in told[-1]
    assert "answer   200: a companion changes nothing but what it undoes" in told[-1]


def test_a_look_and_a_request_that_never_changes_anything_are_told_so(capsys):
    told = explained(capsys, "GET /cart", "GET /shipping", "GET /cart", "HEAD /shipping")
    assert "answer   200: a look changes nothing\n  meaning  nothing" in told[2]
    assert "answer   200: HEAD and OPTIONS change nothing\n  meaning  nothing" in told[3]


def test_a_condition_that_raises_is_told(capsys):
    Path("raising_of_explain.py").write_text("def agrees(c): raise RuntimeError('no stock')\n", "utf-8")
    text = '[paths."/a"]\nwhen = "raising_of_explain:agrees"\n'
    assert explained(capsys, "GET /a", text=text) == [
        "GET /a\n  raised   RuntimeError: no stock: a server error, and the run stays as it was\n  run      none"
    ]


def test_a_responder_of_ones_own_answers_here_too(capsys):
    Path("responder_of_explain.py").write_text(
        "def respond(refused, environ):\n"
        "    def answer(environ, start_response):\n"
        "        start_response('307 Elsewhere', [('Location', '/queue')])\n"
        "        yield b''\n"
        "    return answer\n", "utf-8",
    )  # fmt: skip
    told = explained(capsys, "GET /done", text=f'on_refusal = "responder_of_explain:respond"\n{SHOP}', code=1)[0]
    assert "  answer   307 to /queue, from the guard\n" in told


def test_parameters_are_found_in_query_and_form(capsys):
    text = ('[paths."/shop.php"]\nto = ["two"]\n[paths."GET /shop.php?step=2"]\nstate = "two"\nto = ["pay"]\n'
            '[paths."POST /shop.php?pay"]\nstate = "pay"\n')  # fmt: skip
    told = explained(capsys, "GET /shop.php", "GET /shop.php?step=2", "POST /shop.php pay=now", text=text)[-1]
    assert told.endswith("  run      /shop.php -> two -> pay (done), finished")


def test_of_several_flows_each_run_is_told(capsys):
    text = '[[flow]]\nname = "one"\n[flow.paths."/a"]\n[[flow]]\nname = "two"\n[flow.paths."/b/<int:id>"]\n'
    told = explained(capsys, "GET /b/7", text=text)[0]
    assert told.endswith("\n  run of one none\n  run of two /b/<int:id>, id=7, finished")


def test_of_several_instances_each_run_is_told(capsys):
    text = 'instance = "id"\n[paths."/o/<id>"]\nto = ["/o/<id>/pay"]\n[paths."/o/<id>/pay"]\n'
    told = explained(capsys, "GET /o/1", "GET /o/2", "GET /o/2/pay", text=text)[-1]
    assert sorted(line for line in told.splitlines() if "run" in line.split()[0]) == [
        "  run      /o/<id> -> /o/<id>/pay, id=2, finished", "  run      /o/<id>, id=1",
    ]  # fmt: skip


def test_what_is_spent_and_left_behind_is_told(capsys):
    told = explained(capsys, *WAYS, "POST /payment", "303 /done", "GET /payment", "303 /cart")[-1]
    assert told.endswith("run      /cart, /payment (spent) before")


def test_who_asks_is_told_by_the_environ(capsys):
    text = f'bind = "REMOTE_USER"\n{SHOP}'
    told = explained(capsys, "GET /cart", "GET /shipping", text=text, options=("--environ", "REMOTE_USER=ann"))
    assert told[-1].endswith("run      /cart -> /shipping")


# --- from a cookie ----------------------------------------------------------------------------------------------------


def cookie_of(*requests: str, https: bool = False, secret: str = SECRET) -> str:
    """The Cookie header of a visitor who has made these requests in the shop."""
    app = Application()
    app.answers["POST /shipping"] = led("/payment")
    visitor = Visitor(FlowGuard.from_file(app, write(SHOP), secret_key=secret), https=https)
    for request in requests:
        visitor.send(visitor.environ(*request.split()))
    return "; ".join(f"{name}={value}" for name, value in visitor.jar.items())


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
def test_a_cookie_is_where_it_begins(https, capsys, monkeypatch):
    cookie = cookie_of("GET /cart", "POST /shipping", https=https)
    monkeypatch.setenv("FLOWGUARD_SECRET", SECRET)
    begun, told = explained(capsys, "GET /payment", options=("--cookie", cookie))[0].split("\n", 1)
    assert begun == "  run      /cart -> /shipping (done)"
    assert told.endswith("run      /cart -> /shipping (done) -> /payment")


def test_the_value_alone_will_do_and_the_secret_may_stand_in_a_file(capsys, monkeypatch):
    monkeypatch.delenv("FLOWGUARD_SECRET", raising=False)
    Path("secret").write_text(f"{SECRET}\n", "utf-8")
    monkeypatch.setenv("FLOWGUARD_SECRET_FILE", "secret")
    value = cookie_of("GET /cart").partition("=")[2]
    assert explained(capsys, "GET /shipping", options=("--cookie", value))[0].startswith("  run      /cart\n")


def test_a_cookie_of_another_secret_is_told_as_the_guard_sees_it(capsys, monkeypatch):
    monkeypatch.setenv("FLOWGUARD_SECRET", SECRET)
    value = cookie_of("GET /cart", secret="another secret of the tests").partition("=")[2]
    told = explained(capsys, "GET /shipping", options=("--cookie", value), code=1)[0]
    assert "refused  bad_cookie, by line 1" in told


def test_no_secret_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("FLOWGUARD_SECRET", "too short")
    assert main(["explain", write(SHOP), "GET /cart", "--cookie", "x"]) == 1
    said = capsys.readouterr()
    assert (said.out, "FLOWGUARD_SECRET: has 9 bytes" in said.err, "too short" in said.err) == ("", True, False)


def test_a_cookie_without_a_secret_is_wrong_usage(capsys, monkeypatch):
    monkeypatch.delenv("FLOWGUARD_SECRET", raising=False)
    monkeypatch.delenv("FLOWGUARD_SECRET_FILE", raising=False)
    assert main(["explain", write(SHOP), "GET /cart", "--cookie", "x"]) == 2
    assert "--cookie needs FLOWGUARD_SECRET" in capsys.readouterr().err


# --- how it is called -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [
    [], ["/cart"], ["GET cart"], ["GET /cart", "99"], ["GET /cart", "303 somewhere"], ["GET /cart", "later"],
    ["GET /cart", "--environ", "REMOTE_USER"],
], ids=str)  # fmt: skip
def test_what_is_no_step_is_wrong_usage(steps, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["explain", write(SHOP), *steps])
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("steps", [["200"], ["GET /cart", "200", "200"], ["+5", "200", "GET /cart"]], ids=str)
def test_an_answer_to_nothing_is_wrong_usage(steps, capsys):
    assert main(["explain", write(SHOP), *steps]) == 2
    assert "an answer comes after the request that it answers" in capsys.readouterr().err


def test_nothing_of_the_deployment_is_touched(capsys):
    Path("hooks_of_explain.py").write_text("def tell(event): raise SystemExit('told')\n", "utf-8")
    text = f'entered = "hooks_of_explain:tell"\nrefused = "hooks_of_explain:tell"\nmode = "report"\n{SHOP}' \
           '[guard]\nledger = "sqlite:///flow.db"\n'  # fmt: skip
    explained(capsys, "GET /cart", "POST /shipping", "GET /done", text=text, code=1)
    assert not Path("flow.db").exists()


def test_it_works_as_a_process():
    ended = called("explain", write(SHOP), "GET /cart", "GET /done")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith("GET /cart\n  passed ")


# --- the debug lines --------------------------------------------------------------------------------------------------


def test_the_log_says_which_line_let_pass_and_which_row_was_read(caplog):
    visitor = Visitor(FlowGuard.from_file(Application(), write(SHOP), secret_key=SECRET))
    caplog.set_level(logging.DEBUG, "flowguard.decision")
    visitor.get("/cart")
    visitor.get("/done")
    passed, refused = [record for record in caplog.records if record.levelno == logging.DEBUG]
    assert passed.getMessage() == (
        "passed /cart from None, by line 1 (begin): No run: it begins, if /cart is a start. "
        "Its answer: 2xx, for a safe request (entered); now at /cart (run None)"
    )
    assert refused.getMessage() == (
        "refused /done from /cart, by line 7 (illegal): Otherwise refuse. Missing: () "
        f"(run {refused.flowguard['run']})"
    )
    assert len(refused.flowguard["run"]) == 12


def test_nothing_is_worked_out_for_a_log_that_nobody_reads(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "flowguard.decision")
    monkeypatch.setattr("flowguard.tracing.read_by", None)  # it would be called
    monkeypatch.setattr("flowguard.tracing.missing", None)
    visitor = Visitor(FlowGuard.from_file(Application(), write(SHOP), secret_key=SECRET))
    assert visitor.get("/cart").status == 200
    assert visitor.get("/done").status == 303


def test_after_playing_the_log_is_as_it_was(capsys):
    logger = logging.getLogger("flowguard.decision")
    before = (logger.level, logger.propagate, list(logger.handlers))
    explained(capsys, "GET /cart")
    assert (logger.level, logger.propagate, logger.handlers) == before


def test_every_line_of_the_contract_has_words():
    assert all(says(line) for line in range(len(LINES) + 2))
