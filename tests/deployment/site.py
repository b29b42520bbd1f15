"""What the site itself consists of: a view that uses keys, and answers that tell who gave them."""

import os

from django.http import JsonResponse

from django_openrouter_auth.shortcuts import get_session

PROCESS, CONNECTION = "X-Process", "X-Connection"


def name_process(get_response):
    """Tell which process answered, and over which connection: the port of the other side."""

    def middleware(request):
        response = get_response(request)
        response[PROCESS] = str(os.getpid())
        response[CONNECTION] = request.META["REMOTE_PORT"]
        return response

    return middleware


def ask(request):
    """Use the user's key; answer with what OpenRouter says, and over which connection."""
    answer = get_session(request.user).get("key")
    return JsonResponse(
        {"label": answer.json()["data"]["label"], "connection": answer.headers[CONNECTION]}
    )
