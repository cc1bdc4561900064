"""The pages of an account: sign in, sign out, profile, a new password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView, PasswordChangeView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse, reverse_lazy
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_safe

from joulebook.web.accounts import throttle
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.accounts.forms import PasswordForm, ProfileForm, SignInForm
from joulebook.web.accounts.models import Profile
from joulebook.web.accounts.operations import profile_of


class SignInView(LoginView):
    """Sign in by user name and password, then go to `next` if it is an address of this site."""

    template_name = "accounts/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: SignInForm) -> HttpResponse:  # type: ignore[override]
        """Sign the user in, and remember the browser."""
        response = super().form_valid(form)
        throttle.remember_browser(self.request, response, form.get_user())
        return response

    def form_invalid(self, form: SignInForm) -> HttpResponse:  # type: ignore[override]
        """Show the form again."""
        return _answer_throttled(super().form_invalid(form), form)


@require_safe
def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """Redirect to the one sign-in page: its throttle protects administrators, too."""
    if request.user.is_authenticated:
        raise PermissionDenied("These pages are for administrators.")
    return redirect_to_login(request.GET.get("next", reverse("admin:index")))


class SignOutView(LogoutView):
    """Sign out; by POST only, out of reach of another site's links."""

    http_method_names = ["post", "options"]


class PasswordView(PasswordChangeView):
    """Set a new password; the user's other sessions end, and their tokens unless kept."""

    form_class = PasswordForm
    template_name = "accounts/password.html"
    success_url = reverse_lazy("profile")

    def form_valid(self, form: PasswordForm) -> HttpResponse:  # type: ignore[override]
        """Store the password."""
        messages.success(self.request, "Your password is changed.")
        return super().form_valid(form)

    def form_invalid(self, form: PasswordForm) -> HttpResponse:  # type: ignore[override]
        """Show the form again."""
        return _answer_throttled(super().form_invalid(form), form)


def _answer_throttled(response: HttpResponse, form: SignInForm | PasswordForm) -> HttpResponse:
    """Return the answer, with status 429 for scripts after too many wrong passwords."""
    if form.is_throttled:
        response.status_code = 429
        response["Retry-After"] = str(throttle.WINDOW_SECONDS)
    return response


@require_safe
def admin_password(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Redirect to the one page for a user's own password."""
    return redirect("password")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: SignedInRequest) -> HttpResponse:
    """Show and store the user's profile; a POST of a theme alone changes only that."""
    instance = profile_of(request.user)
    if request.method == "POST" and "display_name" not in request.POST:
        # The button in the page's head sends a theme, and its page to return to.
        theme = request.POST.get("theme", "")
        if theme in Profile.Theme.values:
            instance.theme = theme
            instance.save(update_fields=["theme"])
        target, own = request.POST.get("next", ""), {request.get_host()}
        is_local = url_has_allowed_host_and_scheme(target, own, require_https=request.is_secure())
        return HttpResponseRedirect(target) if is_local else redirect("profile")
    form = ProfileForm(request.POST or None, instance=instance)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your profile is saved.")
        return redirect("profile")
    return render(request, "accounts/profile.html", {"form": form}, status=400 if form.errors else 200)
