"""The site that breaks on request: a header of the request says how, and how far it gets."""

import json
from datetime import timedelta
from urllib.request import urlopen

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models import F
from django.http import HttpResponse, JsonResponse
from django.middleware.csrf import get_token

from django_openrouter_auth.exceptions import OpenRouterAuthError
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import connect

from .steps import disk_full, do, killed, watched

STEPS = "X-Steps"
HOUR = timedelta(hours=1)


def break_on_request(get_response):
    """Do what the header ``X-Fault`` says: ``kill 3``, ``pause 7`` or ``fill 4``."""

    def middleware(request):
        kind, _, number = request.headers.get("X-Fault", "").partition(" ")
        act = FAULTS[kind](int(number)) if kind else do
        with watched(act) as names:
            response = get_response(request)
            # The last moment at which a worker can be killed: all is done, nothing is answered.
            act(len(names), "answer", lambda: None)
        if kind == "fill":
            # With the connection goes what fills the disk.
            connection.close()
        response[STEPS] = json.dumps(names)
        return response

    return middleware


def paused(position):
    """Tell the test before a step, and go on when it has answered."""

    def act(number, name, go):
        if number == position:
            urlopen(f"{settings.OPENROUTER_AUTH_API_URL}/pause").close()
        return go()

    return act


FAULTS = {"kill": killed, "pause": paused, "fill": disk_full}


def enter(request, name, api_key=""):
    """Sign somebody up and in, with a key where one is given; answer with a CSRF token."""
    user = get_user_model().objects.create(username=name)
    if api_key:
        connect(user, api_key)
    login(request, user)
    return HttpResponse(get_token(request))


def facts(request):
    """Tell what is stored for the user, the key itself included: nobody else is on this site."""
    # The database may have been restarted: a connection from before would tell nothing.
    connection.close()
    keys = OpenRouterKey.objects.filter(user=request.user)
    try:
        api_key = get_api_key(request.user)
    except OpenRouterAuthError as error:
        api_key = error.code
    rows = [[str(value) for value in row] for row in keys.values_list()]
    return JsonResponse({"key": api_key, "rows": rows})


def messages(request):
    """Tell the messages that wait for the user."""
    return JsonResponse([str(message) for message in get_messages(request)], safe=False)


def an_hour_later(request):
    """Make every attempt of the user an hour older that a request has taken."""
    taken = ConnectAttempt.objects.filter(user=request.user, claimed_at__isnull=False)
    taken.update(claimed_at=F("claimed_at") - HOUR)
    return HttpResponse()
