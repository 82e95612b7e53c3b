"""A wizard of django-formtools that takes an order in three steps, as its documentation shows it.

The wizard, its cookie and its template are formtools' own. Orders are kept in memory; GET /orders tells them.
"""

import django
from django import forms
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import include, path
from person import HOST

settings.configure(
    SECRET_KEY="of this test alone, and no secret",
    ALLOWED_HOSTS=[HOST],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["formtools"],
    MIDDLEWARE=[
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.i18n"]},
    }],
    LANGUAGES=[("en", "English"), ("fr", "French")],
    USE_TZ=True,
)
django.setup()

from formtools.wizard.views import CookieWizardView  # noqa: E402  (it asks for the settings)

orders: list[dict[str, str]] = []


class Contact(forms.Form):
    email = forms.EmailField()


class Delivery(forms.Form):
    street = forms.CharField()


class Payment(forms.Form):
    card = forms.CharField(min_length=4)


class OrderWizard(CookieWizardView):
    form_list = [("contact", Contact), ("delivery", Delivery), ("payment", Payment)]
    template_name = "formtools/wizard/wizard_form.html"

    def done(self, form_list, **_more):
        orders.append(self.get_all_cleaned_data())
        return HttpResponseRedirect("/thanks/")


urlpatterns = [
    path("order/", OrderWizard.as_view()),
    path("thanks/", lambda request: HttpResponse("<p>Thank you!</p>")),
    path("orders/", lambda request: JsonResponse(orders, safe=False)),
    path("i18n/", include("django.conf.urls.i18n")),
]
application = WSGIHandler()
