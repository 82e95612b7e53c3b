"""Whose run it is: the option `bind`. CONTRACT 2, 3, 6, 7."""

from __future__ import annotations

import threading
from typing import Any, Callable, Optional

import pytest
from test_middleware import Down
from visitor import DONE, PAGE, SECRET, SHOWN, Application, Boom, Clock, Visitor, guarded, led

from flowguard import Answer, Attempt, Flow, FlowGuard, Passage, Reason, Run, decide, settle
from flowguard.codec import USER, Codec, Coded
from flowguard.cookie import MAX_COOKIE, Attributes, Cookie, Seal
from flowguard.core.passage import foreign
from flowguard.ledgers.memory import MemoryLedger
from flowguard.users import Users

NAME = "flowguard-flow"
OTHER = "5f0d7cb1294e8a635f0d7cb1294e8a63"
SHOP: dict[str, Any] = {
    "/cart": {"to": ["/address"]},
    "/address": {"to": ["/pay"], "submit": True},
    "/pay": {"to": ["/done"], "once": True},
    "/done": {},
    "/help": {"within": ["/address", "/pay"]},
    "/basket": {"undoes": ["/address"]},
}


class Person:
    """Somebody at a browser, who may log in and out: the server says so by REMOTE_USER."""

    def __init__(self, visitor: Visitor, user: Optional[str] = None) -> None:
        self.visitor, self.user = visitor, user

    def ask(self, step: str, **more: Any) -> Any:
        method, _, path = step.rpartition(" ")
        headers = {**PAGE, "REMOTE_USER": self.user, **more}
        return self.visitor.send(self.visitor.environ(method or "GET", path, **headers))

    def go(self, *steps: str) -> Any:
        """Each step must pass; the last answer."""
        for step in steps:
            answer = self.ask(step)
            assert answer.reason is None, step
        return answer

    def thief(self, user: Optional[str]) -> Person:
        """Somebody else, who got hold of the cookie."""
        return Person(self.visitor.twin(), user)


def shopping(user: Optional[str] = None, **options: Any) -> tuple[Person, Application]:
    visitor, app = guarded(SHOP, bind="REMOTE_USER", **options)
    app.answers.update({"POST /address": DONE, "POST /pay": led("/done")})
    return Person(visitor, user), app


# --- who may go on ---------------------------------------------------------------------------------------------------


def test_a_login_in_the_middle_of_a_run_goes_unnoticed():
    person, app = shopping()
    person.go("/cart", "/address")
    person.user = "ann"
    person.go("/address", "POST /address", "/pay", "POST /pay", "/done")
    assert app.calls.count("POST /pay") == 1


def test_a_run_that_became_anns_while_the_ledger_was_silent_is_hers():
    ledger = Down()
    person, app = shopping(ledger=ledger)
    person.go("/cart", "/address", "POST /address")
    ledger.switch_off()
    person.user = "ann"
    person.go("/pay")
    ledger.off = set()
    assert [person.thief(user).ask("POST /pay").reason for user in (None, "bob")] == ["wrong_user", "wrong_user"]
    person.go("/pay", "POST /pay", "/done")
    assert app.calls.count("POST /pay") == 1


def test_a_run_that_became_anns_before_the_ledger_heard_of_it_is_hers_in_her_tab():
    person, _ = shopping()
    person.go("/cart")
    nobodys = person.thief(None)
    person.user = "ann"
    person.go("/address")
    nobodys.go("/address", "POST /address")  # with this submission the ledger holds it
    assert person.thief("bob").ask("/address").reason == "wrong_user"
    person.go("/pay")
    assert nobodys.ask("/pay").reason == "wrong_user"


def test_whose_a_run_is_the_ledger_says_before_an_old_cookie_does():
    person, _ = shopping()
    person.go("/cart")
    bob = person.thief("bob")
    person.user = "ann"
    person.go("/address")
    bob.go("/address", "POST /address")
    assert person.ask("/pay").reason == "wrong_user"
    bob.go("/pay")


def test_after_the_login_the_run_is_anns_alone():
    person, app = shopping()
    person.go("/cart", "/address")
    person.user = "ann"
    person.go("POST /address")
    for thief in (person.thief("bob"), person.thief(None)):
        assert thief.ask("/pay").verdict == (303, "wrong_user")
        assert thief.ask("POST /pay").verdict == (409, "wrong_user")
        assert thief.ask("/help").verdict == (303, "illegal")
    assert person.go("/pay").status == 200
    assert "POST /pay" not in app.calls


def test_a_run_is_nobodys_until_it_changes_under_a_user():
    person, _ = shopping()
    person.go("/cart")
    person.user = "ann"
    assert person.go("/cart").cookies == []  # a reload changes nothing
    person.user = None
    person.go("/cart", "/address")


def test_who_logs_out_begins_anew():
    person, app = shopping("ann")
    person.go("/cart", "/address", "POST /address")
    person.user = None
    refused = person.ask("/pay")
    assert refused.verdict == (303, "wrong_user")
    assert refused.location == "/cart"
    assert refused.cookies == [cookie for cookie in refused.cookies if "-note=" in cookie]  # the run is left alone
    person.go("/cart")
    assert person.ask("/pay").reason == "illegal"
    assert app.calls.count("GET /pay") == 0


def test_a_new_run_has_an_id_of_its_own_and_the_others_goes_on_untouched():
    person, app = shopping("ann")
    person.go("/cart", "/address", "POST /address")
    bob = person.thief("bob")
    bob.go("/cart", "/address", "POST /address", "/pay")
    person.go("/pay", "POST /pay", "/done")
    bob.go("POST /pay", "/done")
    assert app.calls.count("POST /pay") == 2


def test_an_expired_run_of_another_is_not_gone_on_with_under_its_id():
    clock = Clock()
    person, _ = shopping("ann", clock=clock)
    person.go("/cart", "/address", "POST /address")
    bob = person.thief("bob")
    clock.now += 20_000
    assert bob.ask("/pay").reason == "wrong_user"
    bob.go("/cart", "/address", "POST /address")
    assert person.ask("/pay").reason == "expired"


def test_the_run_of_another_is_not_reset():
    person, _ = shopping("ann", reset="/again")
    person.go("/cart", "/address", "POST /address")
    bob = person.thief("bob")
    answer = bob.ask("/again")
    assert (answer.status, answer.location, answer.cookies) == (303, "/cart", [])
    person.go("/pay")
    person.go("/again")
    assert person.ask("/pay").reason == "not_started"


def test_after_a_reset_the_run_is_nobodys_again():
    person, _ = shopping("ann", reset="/again")
    person.go("/cart", "/address", "POST /address", "/again")
    person.user = "bob"
    person.go("/cart", "/address")
    assert person.thief("ann").ask("/address").reason == "wrong_user"


def test_to_change_the_basket_takes_back_nobody_elses_run():
    person, app = shopping("ann")
    person.go("/cart", "/address", "POST /address")
    assert person.thief("bob").ask("POST /basket").status == 200
    person.go("/pay")
    assert app.calls[-1] == "GET /pay"


def test_a_misspelt_path_tells_nobody_where_another_was():
    person, _ = shopping("ann")
    person.go("/cart", "/address", "POST /address")
    refused = person.thief("bob").ask("POST /ADDRESS", HTTP_SEC_FETCH_MODE="cors")
    assert refused.reason == "path"
    assert b'"current": null' in refused.body
    assert refused.cookies == []


# --- the ledger's copy counts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["/address", "POST /address", "/pay"])
@pytest.mark.parametrize("user", ["bob", None])
def test_a_cookie_from_before_the_login_is_the_users_now(step: str, user: Any):
    person, app = shopping()
    person.go("/cart", "/address")
    old = person.thief(user)
    person.user = "ann"
    person.go("POST /address")
    before = len(app.calls)
    refused = old.ask(step)
    assert refused.reason == "wrong_user"
    assert not [cookie for cookie in refused.cookies if cookie.startswith(f"{NAME}=")]
    assert len(app.calls) == before
    person.go("/pay")


def test_a_cookie_from_before_the_login_is_brought_up_for_the_user():
    person, _ = shopping()
    person.go("/cart", "/address")
    tab = person.thief("ann")
    person.user = "ann"
    person.go("POST /address")
    tab.go("/pay", "POST /pay", "/done")


def test_what_nobody_did_while_a_user_logged_in_is_dropped():
    """Two requests at the same moment: the login overtakes the one without it."""
    person, app = shopping()
    person.go("/cart", "/address")
    begun, go_on = threading.Event(), threading.Event()

    def slowly(environ: Any, start_response: Any) -> Any:
        begun.set()
        go_on.wait(10)
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"page"]

    app.answers["POST /basket"] = slowly
    nobody = person.thief(None)
    asking = threading.Thread(target=lambda: nobody.ask("POST /basket"))
    asking.start()
    assert begun.wait(10)
    person.user = "ann"
    person.go("POST /address")
    go_on.set()
    asking.join(10)
    assert person.thief("bob").ask("/pay").reason == "wrong_user"
    person.go("/pay")


def test_a_busy_run_is_not_shown_to_a_stranger():
    person, app = shopping(ledger_wait=0)
    person.go("/cart", "/address")
    old = person.thief("bob")
    person.user = "ann"
    person.go("POST /address", "/pay")
    seen: list[Any] = []

    def meanwhile(environ: Any, start_response: Any) -> Any:
        seen.append(old.ask("POST /address"))
        start_response("303 See Other", [("Location", "/done"), ("Content-Type", "text/html")])
        return [b""]

    app.answers["POST /pay"] = meanwhile
    person.go("POST /pay", "/done")
    assert [one.verdict for one in seen] == [(409, "wrong_user")]


def test_where_the_ledger_is_silent_the_cookie_says_whose_it_is():
    ledger = Down()
    person, _ = shopping("ann", ledger=ledger)
    person.go("/cart", "/address", "POST /address")
    ledger.switch_off()
    assert person.thief("bob").ask("/pay").reason == "wrong_user"
    assert person.thief("bob").ask("POST /address").reason == "unavailable"
    person.go("/pay")


# --- who is it? ------------------------------------------------------------------------------------------------------


def cookie_of(header: str) -> dict[str, str]:
    return {"HTTP_COOKIE": header}


READERS: list[Any] = [
    pytest.param("REMOTE_USER", {"REMOTE_USER": "ann"}, "ann", id="an environ key"),
    pytest.param("REMOTE_USER", {"REMOTE_USER": ""}, None, id="an empty one"),
    pytest.param("REMOTE_USER", {}, None, id="none"),
    pytest.param("cookie:who", cookie_of("who=ann"), "ann", id="a cookie"),
    pytest.param("cookie:who", cookie_of("a=b;\twho= ann ; c=d"), "ann", id="a cookie among others"),
    pytest.param("cookie:who", cookie_of("who=a,b c"), "a,b c", id="a cookie with a comma"),
    pytest.param("cookie:who", cookie_of("nowho=ann; xwho=ann"), None, id="not one that ends so"),
    pytest.param("cookie:who", cookie_of("who=; who="), None, id="an empty cookie"),
    pytest.param("cookie:who", cookie_of("who=ann; who=ann"), "ann", id="a cookie twice"),
    pytest.param("cookie:who", cookie_of("who=ann; who=bob"), "ann;bob", id="two users are a third"),
    pytest.param("cookie:who", cookie_of("who=ann" + ";x" * 9000), "who=ann" + ";x" * 9000, id="too long a header"),
    pytest.param("cookie:w.o", cookie_of("wxo=ann"), None, id="a name with a dot, to the letter"),
    pytest.param(lambda environ: environ["shop.user"].upper(), {"shop.user": "ann"}, "ANN", id="a callable"),
    pytest.param(lambda environ: None, {}, None, id="a callable that knows nobody"),
]


@pytest.mark.parametrize(("bind", "environ", "user"), READERS)
def test_a_user_is_told_by(bind: Any, environ: Any, user: Any):
    expected = Users(lambda _: user, [SECRET], "flow").of({})
    assert Users(bind, [SECRET], "flow").of(environ) == expected
    assert bool(expected) is (user is not None)


@pytest.mark.parametrize("value", [7, b"ann", True])
def test_a_user_that_is_no_text_is_the_deployers_mistake(value: Any):
    with pytest.raises(TypeError, match="bind of the flow 'shop' gives"):
        Users(lambda environ: value, [SECRET], "shop").of({})


def test_a_callable_that_raises_is_a_server_error_and_the_run_stays_as_it_was():
    broken: list[bool] = []

    def whose(environ: Any) -> str:
        if broken:
            raise Boom
        return "ann"

    visitor, app = guarded(SHOP, bind=whose)
    for path in ("/cart", "/address"):
        assert visitor.get(path).status == 200
    broken.append(True)
    for ask in (lambda: visitor.get("/address"), lambda: visitor.post("/address"), lambda: visitor.post("/ADDRESS")):
        with pytest.raises(Boom):
            ask()
    assert app.calls == ["GET /cart", "GET /address"]
    broken.clear()
    assert visitor.post("/address").status == 200


def test_a_cookie_of_the_applications_may_tell_the_user():
    visitor, _ = guarded(SHOP, bind="cookie:customer")
    visitor.get("/cart")
    visitor.jar["customer"] = "7"
    assert visitor.get("/address").status == 200
    thief = visitor.twin()
    thief.jar["customer"] = "8"
    assert thief.get("/address").reason == "wrong_user"
    del thief.jar["customer"]
    assert thief.get("/address").reason == "wrong_user"
    assert visitor.get("/address").status == 200


# --- the digest ------------------------------------------------------------------------------------------------------


def test_the_cookie_does_not_tell_who_it_is():
    person, _ = shopping("ann@shop.example")
    person.go("/cart")
    (digest,) = Users("REMOTE_USER", [SECRET], "flow").of({"REMOTE_USER": "ann@shop.example"})
    assert len(digest) == USER
    assert digest in person.visitor.jar[NAME]
    assert Users("REMOTE_USER", [OTHER], "flow").of({"REMOTE_USER": "ann@shop.example"}) != (digest,)
    assert Users("REMOTE_USER", [SECRET], "other").of({"REMOTE_USER": "ann@shop.example"}) != (digest,)


def rotated(person: Person, *keys: str, app: Application, ledger: Any) -> Person:
    """The same person before a guard with other secrets."""
    later, _ = guarded(SHOP, app=app, bind="REMOTE_USER", secret_key=list(keys), ledger=ledger)
    later.jar = dict(person.visitor.jar)
    return Person(later, person.user)


@pytest.mark.parametrize("shared", [True, False], ids=["with the ledger", "by the cookie alone"])
def test_a_new_secret_makes_nobody_a_stranger_to_his_run(shared: bool):
    ledger = MemoryLedger()
    person, app = shopping("ann", ledger=ledger)
    person.go("/cart", "/address", "POST /address")
    between = rotated(person, SECRET, OTHER, app=app, ledger=ledger if shared else MemoryLedger())
    assert between.thief("bob").ask("/pay").reason == "wrong_user"
    between.go("/pay")
    after = rotated(between, OTHER, app=app, ledger=ledger if shared else MemoryLedger())
    after.go("POST /pay", "/done")
    assert after.thief("bob").ask("/done").reason == "wrong_user"


def test_the_flow_that_binds_no_longer_lets_everybody_go_on():
    person, app = shopping("ann")
    person.go("/cart")
    later, _ = guarded(SHOP, app=app)
    later.jar = dict(person.visitor.jar)
    assert later.get("/address").status == 200
    assert later.jar[NAME].count(".") == person.visitor.jar[NAME].count(".") - 1  # and forgets whose it was


def test_a_run_from_before_bind_belongs_to_the_first_who_goes_on():
    before, app = guarded(SHOP)
    before.get("/cart")
    later, _ = guarded(SHOP, app=app, bind="REMOTE_USER")
    later.jar = before.jar
    person = Person(later, "ann")
    person.go("/address")
    assert person.thief("bob").ask("/address").reason == "wrong_user"


BOUND = Flow(SHOP, bind="REMOTE_USER").definition
MINE = Run("i" * 16, 3, 1, ("/cart",), started=10, changed=10, entered=10, user="u" * USER)


def test_the_digest_goes_through_the_cookie_and_through_operators_hands():
    text = Codec(BOUND).encode(MINE)
    assert Codec(BOUND).decode(text) == MINE
    assert Codec(Flow(SHOP).definition).decode(text) == MINE._replace(user="")
    coded = Coded.decode(text)
    assert coded is not None
    assert coded.encode() == text
    nobodys = Codec(BOUND).encode(MINE._replace(user=""))
    assert text == f"{nobodys}.{MINE.user}"
    for odd in (f"{nobodys}.", f"{nobodys}.short", f"{text}.", f"{text}.{MINE.user}"):
        assert Codec(BOUND).decode(odd) is None


def test_the_bound_of_the_cookie_counts_the_digest_where_there_is_one():
    free = Flow(SHOP).definition
    assert Codec(BOUND).longest == Codec(free).longest + 1 + USER
    jar = Cookie(NAME, Codec(BOUND), Seal([SECRET], "flow"), Attributes(), True)
    assert len(jar.write(MINE)) <= jar.longest < MAX_COOKIE


# --- the rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "users", "reason"), [
    ("", (), None), ("", ("a",), None), ("a", ("a",), None), ("a", ("a", "b"), None), ("b", ("a", "b"), None),
    ("a", (), Reason.WRONG_USER), ("a", ("b",), Reason.WRONG_USER),
])  # fmt: skip
def test_a_run_may_be_used_by(held: str, users: Any, reason: Any):
    attempt = Attempt("/cart", False, 10, users=users)
    assert foreign(BOUND, MINE._replace(user=held), attempt) is reason
    assert foreign(Flow(SHOP).definition, MINE._replace(user=held), attempt) is None


def test_every_change_writes_whose_it_is_under_the_newest_secret():
    run = Run("id", 1, 0, ("/cart",), user="old")
    passage = decide(BOUND, run, Attempt("/address", False, None, users=("old", "new")))
    assert isinstance(passage, Passage)
    assert settle(BOUND, run, passage, Answer(200, html=True), 0).run.user == "new"
    assert settle(BOUND, run, passage, Answer(500), 0).run is run


def test_a_guard_asks_nobody_who_he_is_unless_it_must(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    visitor, _ = guarded(SHOP, bind=lambda environ: asked.append(environ["PATH_INFO"]))
    visitor.get("/elsewhere")
    visitor.get("/cart")
    assert asked == ["/cart"]


@pytest.mark.parametrize("user", ["ann", None])
def test_on_the_way_nobody_is_asked_twice_who_he_is(user: Optional[str]):
    asked: list[str] = []

    def whose(environ: Any) -> Optional[str]:
        asked.append(environ["PATH_INFO"])
        return user

    first, app = guarded(SHOP, bind=whose)
    app.answers["GET /address"] = SHOWN.saying("Flowguard", "success")
    for visitor in (first, Visitor(first.app, check=False)):
        for path in ("/cart", "/address", "/address", "/done", "/pay"):
            asked.clear()
            visitor.get(path)
            visitor.call("GET", path)
            assert asked == [path] * 2


def test_a_callable_that_raises_now_and_then_leaves_no_claim_behind():
    """A run that was overtaken: the lane has the claim, and hands the request on."""
    asked, broken = [], set()

    def whose(environ: Any) -> str:
        asked.append(environ["PATH_INFO"])
        if len(asked) in broken:
            raise Boom
        return "ann"

    visitor, app = guarded(SHOP, bind=whose, check=False, ledger_wait=0)
    for path in ("/cart", "/address"):
        visitor.get(path)
    old = visitor.twin()
    app.answers["POST /address"] = SHOWN.saying("Flowguard", "success")
    visitor.post("/address")
    app.answers["GET /address"] = SHOWN.saying("Flowguard", "failed")
    visitor.get("/address")
    asked.clear()
    broken.add(2)
    assert old.post("/address").verdict == (200, None)
    broken.clear()
    assert visitor.twin().get("/pay").verdict == (200, None)


def whose(environ: Any) -> Optional[str]:
    return str(environ["REMOTE_USER"])


def test_a_callable_may_be_given_by_its_dotted_name():
    guard: Callable[..., Any] = FlowGuard(Application(), SHOP, secret_key=SECRET, bind=f"{__name__}:whose")
    person = Person(Visitor(guard), "ann")
    person.go("/cart")
    assert person.thief("bob").ask("/address").reason == "wrong_user"
