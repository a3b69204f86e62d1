package access_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gaff/internal/access"
)

var anna = access.SSOUser{Subject: "u-7", Name: "anna@studio.example", Role: access.Operator, IDToken: "a.b.c"}

// opened returns a function that identifies the holder of a session's cookie.
func opened(guard *access.Guard, secret string) func() (access.Identity, bool) {
	return func() (access.Identity, bool) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: access.CookieName, Value: secret})
		return guard.Authorize(r)
	}
}

func (w *world) sso(u access.SSOUser) (access.Session, string) {
	w.t.Helper()
	s, secret, err := w.LoginSSO(from("192.0.2.1"), u)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, secret
}

func TestSSOSessionIsOfItsSubject(t *testing.T) {
	t.Parallel()
	runWith(t, access.GuardOptions{SSO: "a provider"}, func(w *world) {
		_, secret := w.sso(anna)
		who, ok := opened(w.Guard, secret)()
		if !ok || who.Name != anna.Name || who.Role != access.Operator || who.KeyID != "" || who.Caller() != "oidc:u-7" {
			t.Errorf("%+v %t", who, ok)
		}
	})
}

func TestSSOSessionEndsAtItsOwnAge(t *testing.T) {
	t.Parallel()
	runWith(t, access.GuardOptions{SSO: "a provider", Sessions: access.SessionRules{SSOAge: time.Hour, Age: 24 * time.Hour}}, func(w *world) {
		_, secret := w.sso(anna)
		_, byToken, err := w.Login(from("192.0.2.1"), adminToken, "")
		if err != nil {
			t.Fatal(err)
		}
		sso, token := opened(w.Guard, secret), opened(w.Guard, byToken)
		time.Sleep(59 * time.Minute)
		if _, ok := sso(); !ok {
			t.Error("it ended early")
		}
		time.Sleep(time.Minute)
		if _, ok := sso(); ok {
			t.Error("it did not end")
		}
		if _, ok := token(); !ok {
			t.Error("a session of the token ended with it")
		}
	})
}

func TestUnusedSessionEnds(t *testing.T) {
	t.Parallel()
	runWith(t, access.GuardOptions{Sessions: access.SessionRules{Idle: time.Hour}}, func(w *world) {
		_, secret, err := w.Login(from("192.0.2.1"), adminToken, "")
		if err != nil {
			t.Fatal(err)
		}
		session := opened(w.Guard, secret)
		for range 3 {
			time.Sleep(50 * time.Minute)
			if _, ok := session(); !ok {
				t.Fatal("a used session ended")
			}
		}
		time.Sleep(time.Hour + time.Minute)
		if _, ok := session(); ok {
			t.Error("an unused session did not end")
		}
	})
}

func TestShorterAgeEndsOpenSessions(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		_, secret, err := w.Login(from("192.0.2.1"), adminToken, "")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if _, ok := opened(w.guard(access.GuardOptions{Sessions: access.SessionRules{Age: time.Hour}}), secret)(); ok {
			t.Error("a session is older than the setting, and open")
		}
	})
}

func TestSSOSessionEndsWithProvidersSettings(t *testing.T) {
	t.Parallel()
	runWith(t, access.GuardOptions{SSO: "a provider"}, func(w *world) {
		_, secret := w.sso(anna)
		for _, other := range []string{"", "another provider"} {
			if _, ok := opened(w.guard(access.GuardOptions{SSO: other}), secret)(); ok {
				t.Errorf("provider %q: the session is still open", other)
			}
		}
		if _, ok := opened(w.guard(access.GuardOptions{SSO: "a provider"}), secret)(); !ok {
			t.Error("the session ended although nothing changed")
		}
	})
}

func TestTokenSessionsEndIfTokenLoginIsTurnedOff(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		_, secret, err := w.Login(from("192.0.2.1"), adminToken, "")
		if err != nil {
			t.Fatal(err)
		}
		off := w.guard(access.GuardOptions{SSO: "a provider", Sessions: access.SessionRules{NoTokens: true}})
		if _, ok := opened(off, secret)(); ok {
			t.Error("the session is still open")
		}
		if _, _, err := off.Login(from("192.0.2.1"), adminToken, ""); err == nil {
			t.Error("the token still logs in")
		}
		r := from("192.0.2.1")
		r.Header.Set("Authorization", "Bearer "+adminToken)
		if _, ok := off.Authorize(r); !ok {
			t.Error("programs cannot use the token any more")
		}
	})
}

func TestUserWithoutRoleIsDeniedAndRecorded(t *testing.T) {
	t.Parallel()
	runWith(t, access.GuardOptions{SSO: "a provider"}, func(w *world) {
		_, _, err := w.LoginSSO(from("192.0.2.1"), access.SSOUser{Subject: "guest", Name: "oidc:guest"})
		if !errors.Is(err, access.ErrNoRole) {
			t.Errorf("%v", err)
		}
		if w.denied[access.DeniedSSO] != 1 {
			t.Errorf("denied: %v", w.denied)
		}
		page, err := w.Audit(context.Background(), access.AuditFilter{Actor: "oidc:guest"})
		if err != nil || len(page.Items) != 1 || page.Items[0].Status != http.StatusForbidden || page.Items[0].Role != access.NoRole {
			t.Errorf("audit log: %+v %v", page.Items, err)
		}
	})
}

func TestWrongStatesDoNotLockAnAddress(t *testing.T) {
	t.Parallel()
	runWith(t, access.GuardOptions{SSO: "a provider"}, func(w *world) {
		r := from("192.0.2.1")
		for range 50 {
			w.FailedSSO(r, &access.SSOError{Why: "state"})
		}
		if !w.AllowSSO(r) {
			t.Error("any page can lock a user out")
		}
		for range 50 {
			w.FailedSSO(r, &access.SSOError{Why: "code", Asked: true})
		}
		if w.AllowSSO(r) {
			t.Error("failed logins are not limited")
		}
	})
}

func TestEndedSSOSessionsLoseTheProvidersToken(t *testing.T) {
	t.Parallel()
	runWith(t, access.GuardOptions{SSO: "a provider", Sessions: access.SessionRules{SSOAge: time.Hour, Idle: 30 * time.Minute}}, func(w *world) {
		_, secret := w.sso(anna)
		token := func() string {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.AddCookie(&http.Cookie{Name: access.CookieName, Value: secret})
			return w.IDToken(r)
		}
		time.Sleep(29 * time.Minute)
		if err := w.PruneSessions(context.Background()); err != nil || token() != anna.IDToken {
			t.Fatalf("of an open session: %q, %v", token(), err)
		}
		time.Sleep(2 * time.Minute)
		if err := w.PruneSessions(context.Background()); err != nil || token() != "" {
			t.Errorf("of a session that was not used: %q, %v", token(), err)
		}
	})
}
