from django.http import HttpRequest, JsonResponse  # type: ignore[import-untyped]
from django.urls import re_path  # type: ignore[import-untyped]


async def tell(request: HttpRequest) -> JsonResponse:
    """Answer; Django has no lifespan, so there are no goods."""
    return JsonResponse(
        {
            "site": "inside",
            "body": request.body.decode(),
            "goods": None,
            "number": request.scope["state"]["waitroom"].number,
        }
    )


urlpatterns = [re_path("", tell)]
