"""Check now and disconnect in the admin: who may, what happens, and what is told and recorded."""

from datetime import timedelta

import pytest
import requests
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from django_openrouter_auth.admin import OpenRouterKeyAdmin
from django_openrouter_auth.admin_actions import MOST_DISCONNECTED, report
from django_openrouter_auth.fields import fingerprint
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.selection import SELECTION
from django_openrouter_auth.services import disconnect

from .connecting import API, HINT, KEY, OTHER_KEY, row, start
from .staff import KEYS, run_action, staff_with, told
from .stored_keys import store_keys
from .test_keys import damage

pytestmark = pytest.mark.django_db
PAGES = {"check_now": "check", "disconnect": "disconnect"}


def page(name, *pks):
    """The address of the page that asks about keys."""
    return f"{KEYS}{name}/?" + "&".join(f"pk={pk}" for pk in pks)


def confirm(client, name, *pks):
    """Say yes on the page that asks about keys."""
    masks = dict(OpenRouterKey.objects.values_list("pk", "hint"))
    shown = [f"{pk} {masks[pk]}" for pk in pks if pk in masks]
    return client.post(page(name, *pks), {"pk": pks, "shown": shown})


@pytest.mark.parametrize("action", PAGES)
def test_actions_ask_first(staff, connected, openrouter, action):
    """An action of the list changes nothing: it leads to a page that names users and keys."""
    before = row()
    response = run_action(staff, action, connected.pk)
    assert response["Location"] == page(PAGES[action], connected.pk)
    text = staff.get(response["Location"]).content.decode()
    assert "ann" in text
    assert HINT in text
    assert row() == before
    assert not openrouter.calls


@pytest.mark.parametrize("action", PAGES)
def test_filters_are_kept(staff, connected, action):
    """Staff come back to the list as they had filtered it."""
    chosen = {"action": action, "_selected_action": [connected.pk], "index": "0"}
    response = staff.post(f"{KEYS}?status__exact=active", chosen)
    text = staff.get(response["Location"]).content.decode()
    assert "_changelist_filters=status__exact%3Dactive" in text


@pytest.mark.parametrize("name", PAGES.values())
def test_filters_are_kept_by_the_detail_page(staff, connected, name):
    """From a filtered list over the page of a key staff come back to the list as it was."""
    filters = "_changelist_filters=status__exact%3Dactive"
    text = staff.get(f"{KEYS}{connected.pk}/change/?{filters}").content.decode()
    assert f'href="{KEYS}{name}/?{filters}&amp;pk={connected.pk}"' in text


@pytest.mark.parametrize("name", PAGES.values())
def test_detail_page_leads_there(staff, connected, name):
    """The page of a key has the same links, and they lead back to it."""
    text = staff.get(f"{KEYS}{connected.pk}/change/").content.decode()
    assert f'href="{page(name, connected.pk)}"' in text
    asking = staff.get(page(name, connected.pk)).content.decode()
    assert f'href="{KEYS}{connected.pk}/change/"' in asking


# Check now


def test_check(staff, connected, openrouter):
    """OpenRouter is asked, what it says is stored, and staff are told."""
    openrouter.knows(usage=7.25)
    response = confirm(staff, "check", connected.pk)
    assert response["Location"] == f"{KEYS}{connected.pk}/change/"
    assert told(response) == [("success", "OpenRouter accepts 1 key.")]
    assert row()["usage"] == 7.25


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 401}, "OpenRouter rejects 1 key"),
        ({"status": 429}, "1 key could not be checked. OpenRouter is receiving too many"),
        ({"status": 500}, "1 key could not be checked. OpenRouter could not be reached"),
        ({"body": requests.ReadTimeout()}, "1 key could not be checked. OpenRouter could not be"),
        ({"body": RuntimeError()}, "1 key could not be checked. Something unexpected"),
        ({"json": {"data": {"is_management_key": True}}}, "1 key is a management key"),
    ],
)
def test_bad_day(staff, connected, openrouter, answer, words):
    """Whatever OpenRouter does, staff are told in words, and no page is an error page."""
    openrouter.mock.upsert("GET", f"{API}/key", **answer)
    response = confirm(staff, "check", connected.pk)
    [(level, text)] = told(response)
    assert level == "warning"
    assert text.startswith(words)
    assert staff.get(response["Location"]).status_code == 200


def test_check_again(staff, connected, openrouter):
    """A key that was checked a moment ago is not asked about again, which staff are told."""
    confirm(staff, "check", connected.pk)
    response = confirm(staff, "check", connected.pk)
    assert "less than 30 seconds ago" in told(response)[-1][1]
    assert len(openrouter.calls) == 1


def test_check_of_unreadable_key(staff, connected, openrouter):
    """A key that cannot be read is told as such, and OpenRouter is not asked."""
    damage()
    response = confirm(staff, "check", connected.pk)
    assert "can no longer be read" in told(response)[0][1]
    assert not openrouter.calls


def test_check_of_several(staff, openrouter):
    """Each end is told once, with how many keys came to it."""
    keys = store_keys(3)
    OpenRouterKey.objects.filter(pk=keys[0].pk).update(secret=b"damaged")
    response = confirm(staff, "check", *(key.pk for key in keys))
    assert response["Location"] == KEYS
    assert [text.split(" key")[0] for _, text in told(response)] == ["OpenRouter accepts 2", "1"]


@pytest.mark.parametrize("code", ["key_changed", "not_connected"])
def test_words_for_keys_that_changed(code):
    """A key that was replaced or deleted while OpenRouter was asked is told as such."""
    [(_, one)] = report({code: 1})
    [(_, two)] = report({code: 2})
    assert one.startswith("1 key was replaced or deleted meanwhile")
    assert two.startswith("2 keys were replaced or deleted meanwhile")


@pytest.mark.parametrize(
    ("name", "service", "finds"),
    [("check", "check_selection", {}), ("disconnect", "services.disconnect", [])],
)
def test_key_that_is_gone_meanwhile(staff, connected, monkeypatch, name, service, finds):
    """A key that was deleted between page and click is told as such, and leaves no record."""
    monkeypatch.setattr(f"django_openrouter_auth.admin_actions.{service}", lambda keys: finds)
    response = confirm(staff, name, connected.pk)
    assert response.status_code == 302
    [(level, text)] = told(response)
    assert (level, "none of these keys exists any more" in text) == ("warning", True)
    assert not LogEntry.objects.exists()


def test_one_of_several_is_gone_meanwhile(staff, openrouter, monkeypatch):
    """What was checked is told and on record, without the key that was deleted meanwhile."""
    gone, there = store_keys(2)

    def check(pks):
        return {pk: "accepted" for pk in pks if pk != gone.pk}

    monkeypatch.setattr("django_openrouter_auth.admin_actions.check_selection", check)
    response = confirm(staff, "check", gone.pk, there.pk)
    assert told(response) == [("success", "OpenRouter accepts 1 key.")]
    assert LogEntry.objects.get().object_id == str(there.pk)


def test_check_has_a_bound(staff, openrouter):
    """Of many keys the page takes those that waited longest, and says so; the command does all."""
    keys = store_keys(SELECTION + 2)
    # Those that the list, which begins with the newest, would take first.
    recent = OpenRouterKey.objects.filter(pk__in=[key.pk for key in keys[-2:]])
    recent.update(check_began_at="2026-01-01T00:00:00Z")
    response = run_action(staff, "check_now", *(key.pk for key in keys), select_across="1")
    [(level, text)] = told(response)
    assert (level, "more than 24 keys" in text) == ("warning", True)
    asking = staff.get(response["Location"])
    text = asking.content.decode()
    assert "openrouter_auth_check_keys" in text
    assert "15 seconds" in text
    assert {key.pk for key in asking.context["keys"]} == {key.pk for key in keys[:-2]}


def test_nothing_is_asked_in_a_transaction(staff, transactional_db, monkeypatch):
    """Also where every request is in a transaction, none is open while OpenRouter is asked."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    [key] = store_keys(1)
    seen = []

    def note(pks):
        seen.append(connection.in_atomic_block)
        return {}

    monkeypatch.setattr("django_openrouter_auth.admin_actions.check_selection", note)
    confirm(staff, "check", key.pk)
    assert seen == [False]


# Disconnect


def test_disconnect(staff, browser, connected):
    """The local copy and pending attempts go; staff are told that the key lives on."""
    start(browser)
    response = confirm(staff, "disconnect", connected.pk)
    assert response["Location"] == KEYS
    [(level, text)] = told(response)
    assert level == "success"
    assert "it works until its owner deletes it there" in text
    assert not OpenRouterKey.objects.exists()
    assert not ConnectAttempt.objects.filter(outcome="").exists()


def test_disconnect_that_is_interrupted(staff, monkeypatch):
    """Who was disconnected before something failed is on record all the same."""
    pks = {key.pk for key in store_keys(2)}
    gone = []

    def disconnect_once(user):
        if gone:
            raise RuntimeError
        gone.append(user)
        return disconnect(user)

    monkeypatch.setattr("django_openrouter_auth.services.disconnect", disconnect_once)
    with pytest.raises(RuntimeError):
        confirm(staff, "disconnect", *pks)
    left = OpenRouterKey.objects.get().pk
    assert {int(LogEntry.objects.get().object_id), left} == pks


def test_key_that_was_replaced_before_the_click(staff, connected):
    """Only a key that the page showed is deleted: a new one of the same user stays."""
    form = staff.get(page("disconnect", connected.pk)).context
    shown = [f"{key.pk} {key.hint}" for key in form["keys"]]
    OpenRouterKey.objects.update(**OpenRouterKey.derive(connected.user_id, OTHER_KEY))
    response = staff.post(page("disconnect"), {"pk": [connected.pk], "shown": shown})
    assert [level for level, _ in told(response)] == ["warning"]
    assert OpenRouterKey.objects.get().key_hash == fingerprint(OTHER_KEY)


@pytest.mark.parametrize("name", ["check", "disconnect"])
def test_expired_key_is_called_so(staff, connected, name):
    """A key that has expired is not called active where staff decide about it."""
    OpenRouterKey.objects.update(expires_at=timezone.now() - timedelta(days=1))
    text = staff.get(page(name, connected.pk)).content.decode()
    assert "Expired" in text
    assert "Active" not in text


def test_disconnect_while_openrouter_is_down(staff, connected, openrouter):
    """Disconnecting asks nobody, and takes unreadable keys too."""
    damage()
    openrouter.goes_down()
    confirm(staff, "disconnect", connected.pk)
    assert not OpenRouterKey.objects.exists()
    assert not openrouter.calls


def test_disconnect_says_what_it_cannot_do(staff, connected):
    """The page says before that only the owner can end the key itself."""
    text = staff.get(page("disconnect", connected.pk)).content.decode()
    assert "only the owner can do that" in text


def test_disconnect_has_a_bound(staff, monkeypatch):
    """Of very many keys the page takes some, and says so; a form made by hand gets no further."""
    monkeypatch.setattr("django_openrouter_auth.admin_actions.MOST_DISCONNECTED", 2)
    keys = store_keys(3)
    response = run_action(staff, "disconnect", *(key.pk for key in keys))
    assert "more than 2 keys" in told(response)[0][1]
    assert len(staff.get(response["Location"]).context["keys"]) == 2
    confirm(staff, "disconnect", *(key.pk for key in keys))
    assert OpenRouterKey.objects.count() == 1
    assert MOST_DISCONNECTED == 200


# Both


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("name", PAGES.values())
@pytest.mark.parametrize("pk", ["", "999", "x", "-1", "9" * 30, "%00"])
def test_odd_keys(staff, connected, name, method, pk):
    """AD 163: primary keys that are none, or gone, lead back to the list with a word about it."""
    response = getattr(staff, method)(page(name, pk), {"pk": pk})
    assert response["Location"].startswith(KEYS)
    assert "none of these keys" in told(response)[0][1]
    assert OpenRouterKey.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "message"), [("check", "Checked: accepted"), ("disconnect", "Disconnected")]
)
def test_log(staff, connected, openrouter, name, message):
    """AD 165: each deed is on record by the row's number, without a secret."""
    confirm(staff, name, connected.pk)
    entry = LogEntry.objects.get()
    assert entry.object_repr == f"OpenRouter key #{connected.pk}"
    assert entry.change_message == message
    assert entry.user.username == "root"
    assert KEY not in str(vars(entry))
    assert connected.key_hash not in str(vars(entry))


@pytest.mark.parametrize("action", PAGES)
@pytest.mark.parametrize(
    "codenames",
    [
        ["view_openrouterkey"],
        ["change_openrouterkey"],
        ["view_openrouterkey", "change_openrouterkey", "delete_openrouterkey", "set_openrouterkey"],
        ["check_openrouterkey", "disconnect_openrouterkey"],
    ],
    ids=["view", "change", "others", "without view"],
)
def test_refused_without_the_permission(connected, openrouter, action, codenames):
    """AD 161: without both permissions staff see neither action nor link, and posts are refused."""
    client = staff_with(*codenames)
    name = PAGES[action]
    for seen in (KEYS, f"{KEYS}{connected.pk}/change/"):
        text = client.get(seen).content.decode()
        assert f'value="{action}"' not in text
        assert f"/{name}/" not in text
    before = row()
    run_action(client, action, connected.pk)
    assert client.get(page(name, connected.pk)).status_code == 403
    assert confirm(client, name, connected.pk).status_code == 403
    assert row() == before
    assert not openrouter.calls


@pytest.mark.parametrize("action", PAGES)
def test_allowed_with_the_permission(connected, openrouter, action):
    """AD 161: who may view and has the permission sees the action, and it works."""
    name = PAGES[action]
    client = staff_with("view_openrouterkey", f"{name}_openrouterkey")
    assert f'value="{action}"' in client.get(KEYS).content.decode()
    assert run_action(client, action, connected.pk).status_code == 302
    assert confirm(client, name, connected.pk).status_code == 302
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize("name", PAGES.values())
def test_keys_that_staff_may_not_see(staff, connected, openrouter, monkeypatch, name):
    """AD 161: where a site says key by key who may see it, other keys are not touched."""
    monkeypatch.setattr(
        OpenRouterKeyAdmin, "has_view_permission", lambda self, request, obj=None: obj is None
    )
    before = row()
    assert staff.get(page(name, connected.pk))["Location"] == KEYS
    assert confirm(staff, name, connected.pk)["Location"] == KEYS
    assert row() == before
    assert not openrouter.calls


@pytest.mark.parametrize("name", PAGES.values())
def test_strangers_and_forgeries(browser, connected, name):
    """Users who are no staff are sent to the login page; a post needs the token."""
    assert "/login/" in confirm(browser, name, connected.pk)["Location"]
    root = User.objects.create_superuser("root", password="x")
    careful = type(browser)(enforce_csrf_checks=True)
    careful.force_login(root)
    assert confirm(careful, name, connected.pk).status_code == 403
    assert OpenRouterKey.objects.exists()


@pytest.mark.parametrize("name", PAGES.values())
def test_pages_read_no_ciphertext(
    staff, connected, openrouter, name, django_assert_max_num_queries
):
    """AD 167: the page that asks reads no ciphertext, and takes the same queries for many keys."""
    keys = [connected, *store_keys(20)]
    with django_assert_max_num_queries(5) as queries:
        staff.get(page(name, *(key.pk for key in keys)))
    sql = " ".join(query["sql"] for query in queries.captured_queries)
    assert ".secret" not in sql.replace('"', "").replace("`", "")


def test_error_report(staff, connected, openrouter, leaks, monkeypatch):
    """LK 172: an error while keys are checked is reported without them."""
    monkeypatch.setattr("django_openrouter_auth.selection.settle", None)
    staff.raise_request_exception = False
    leaks.plant(key=KEY)
    response = confirm(staff, "check", connected.pk)
    assert response.status_code == 500
    leaks.search_response("error page", response)
    assert leaks.error_mail.reports


@pytest.mark.parametrize("name", PAGES.values())
def test_numbers_are_no_amounts(staff, connected, settings, name):
    """A primary key has no separator in it, where the site's numbers have one."""
    settings.USE_THOUSAND_SEPARATOR = True
    OpenRouterKey.objects.filter(pk=connected.pk).update(id=1234)
    assert '<input type="hidden" name="pk" value="1234">' in staff.get(page(name, 1234)).text


@pytest.mark.parametrize("name", PAGES.values())
def test_markup_is_escaped(staff, user, connected, name):
    """AD 166: names with markup are text."""
    User.objects.filter(pk=user.pk).update(username="<b>ann</b>")
    assert "<b>ann" not in staff.get(page(name, connected.pk)).content.decode()
