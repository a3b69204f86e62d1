package access_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gaff"
	"gaff/internal/access"
	"gaff/store/sqlite"
)

const adminToken = "an admin token of one's own choice"

// world is a guard in front of a store.
type world struct {
	*access.Guard
	t      *testing.T
	store  access.Store
	denied map[string]int
	log    strings.Builder
}

// run calls story within a bubble, so that minutes pass at once. The header X-Client is the
// client's address.
func run(t *testing.T, story func(w *world)) {
	t.Helper()
	runWith(t, access.GuardOptions{}, story)
}

// runWith is run for a guard with more options.
func runWith(t *testing.T, o access.GuardOptions, story func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, denied: map[string]int{}}
		w.store = st
		w.Guard = w.guard(o)
		story(w)
		synctest.Wait()
		w.Flush()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

// guard returns another guard in front of the same store, as after a restart.
func (w *world) guard(o access.GuardOptions) *access.Guard {
	o.Store, o.AdminToken, o.Log = w.store, adminToken, slog.New(slog.NewTextHandler(&w.log, nil))
	o.Address = func(r *http.Request) string { return r.Header.Get("X-Client") }
	o.Denied = func(kind string) { w.denied[kind]++ }
	return access.NewGuard(o)
}

func from(address string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("X-Client", address)
	return r
}

func (w *world) login(address, token string) error {
	_, _, err := w.Login(from(address), token, "")
	return err
}

func (w *world) call(address, token string) (access.Identity, bool) {
	r := from(address)
	r.Header.Set("Authorization", "Bearer "+token)
	return w.Authorize(r)
}

func (w *world) key(by access.Identity, name string, role access.Role) (access.Key, string) {
	w.t.Helper()
	k, secret, err := w.CreateKey(context.Background(), by, access.KeyParams{Name: name, Role: role})
	if err != nil {
		w.t.Fatal(err)
	}
	return k, secret
}

func (w *world) audit() (all []access.Entry) {
	w.t.Helper()
	for cursor := ""; ; {
		page, err := w.Audit(context.Background(), access.AuditFilter{Cursor: gaff.Cursor{After: cursor, Limit: 500}})
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

func TestWrongLoginsAreCountedByClient(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		_, made := w.key(access.Identity{Name: "admin"}, "k", access.Viewer)
		for i := range 20 {
			if err := w.login("192.0.2.1", "wrong"); i < 19 && !errors.Is(err, access.ErrDenied) {
				t.Fatalf("login %d: %v", i, err)
			}
		}
		for _, c := range []struct {
			what, address, token string
			want                 error
		}{
			{"wrong again", "192.0.2.1", "wrong", access.ErrTooMany},
			{"right from there", "192.0.2.1", adminToken, access.ErrTooMany},
			{"a key, which nobody guesses", "192.0.2.1", made, nil},
			{"right from elsewhere", "192.0.2.2", adminToken, nil},
		} {
			if err := w.login(c.address, c.token); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.what, err, c.want)
			}
		}
		time.Sleep(time.Minute)
		if err := w.login("192.0.2.1", adminToken); err != nil {
			t.Errorf("a minute later: %v", err)
		}
		if w.denied[access.DeniedLogin] != 22 {
			t.Errorf("%d denied logins were counted", w.denied[access.DeniedLogin])
		}
	})
}

func TestWrongLoginsAreCountedByIPv6Network(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		for range 20 {
			_ = w.login("2001:db8::1", "wrong")
		}
		if err := w.login("2001:db8::ffff", adminToken); !errors.Is(err, access.ErrTooMany) {
			t.Errorf("same network: %v", err)
		}
		if err := w.login("2001:db8:0:1::1", adminToken); err != nil {
			t.Errorf("another network: %v", err)
		}
	})
}

func TestLoginLimitIsPerClient(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		for i := range 250 {
			for range 3 {
				_ = w.login("198.51.100."+string(rune('0'+i%10))+string(rune('0'+i/10%10)), "wrong")
			}
		}
		if err := w.login("192.0.2.2", adminToken); err != nil {
			t.Errorf("after 750 wrong logins of others: %v", err)
		}
	})
}

func TestRecentlyAcceptedTokenIsNotLimited(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		_, made := w.key(access.Identity{Name: "admin"}, "k", access.Viewer)
		if _, ok := w.call("192.0.2.1", adminToken); !ok {
			t.Fatal("the admin token")
		}
		for range 301 {
			w.call("192.0.2.1", "wrong")
			w.call("192.0.2.3", "wrong")
		}
		for _, c := range []struct {
			what, address, token string
			ok                   bool
		}{
			{"wrong", "192.0.2.1", "wrong", false},
			{"right before", "192.0.2.1", adminToken, true},
			{"not seen before", "192.0.2.3", adminToken, false},
			{"a key not seen before", "192.0.2.3", made, true},
			{"another address", "192.0.2.4", adminToken, true},
		} {
			if id, ok := w.call(c.address, c.token); ok != c.ok || !ok && !errors.Is(id.Err, access.ErrTooMany) {
				t.Errorf("%s: %v %v", c.what, ok, id.Err)
			}
		}
	})
}

func TestDeniedCallsAreLoggedSparsely(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		for range 500 {
			w.call("192.0.2.1", "hunter2")
		}
		time.Sleep(time.Minute)
		w.call("192.0.2.1", "hunter2")
		text := w.log.String()
		if strings.Count(text, "access denied") != 2 || !strings.Contains(text, "alsoSince=499") || strings.Contains(text, "hunter2") {
			t.Errorf("log:\n%s", text)
		}
		if w.denied[access.DeniedToken] != 501 {
			t.Errorf("%d were counted", w.denied[access.DeniedToken])
		}
	})
}

func TestLinksAreNotLimited(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		code, err := w.OwnerLink(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			_ = w.login("192.0.2.1", "wrong")
			_, _, _ = w.LoginByLink(from("192.0.2.1"), "wrong")
		}
		for range 2 {
			if l, err := w.Link(context.Background(), code); err != nil || l.Role != access.Admin {
				t.Errorf("looked at: %+v %v", l, err)
			}
		}
		if s, _, err := w.LoginByLink(from("192.0.2.1"), code); err != nil || s.Name != "admin" {
			t.Errorf("%+v %v", s, err)
		}
		if w.denied[access.DeniedLink] != 30 {
			t.Errorf("%d denied links were counted", w.denied[access.DeniedLink])
		}
	})
}

func TestSessionNamesItsCredential(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		k, secret := w.key(access.Identity{Name: "admin"}, "intern", access.Admin)
		_, cookie, err := w.Login(from("192.0.2.1"), secret, "Alice (CFO)")
		if err != nil {
			t.Fatal(err)
		}
		r := from("192.0.2.1")
		r.AddCookie(&http.Cookie{Name: access.CookieName, Value: cookie})
		who, ok := w.Authorize(r)
		if !ok || who.Name != "intern" || who.As != "Alice (CFO)" || who.KeyID != k.ID || who.Via != access.ViaSession {
			t.Errorf("%+v", who)
		}
		if who.String() != "intern (as Alice (CFO))" || who.Caller() != "key:"+k.ID {
			t.Errorf("%s, %s", who, who.Caller())
		}
		login := w.audit()[0]
		if login.Action != "login" || login.Actor != "intern" || login.As != "Alice (CFO)" || login.KeyID != k.ID || login.Address != "192.0.2.1" {
			t.Errorf("%+v", login)
		}
		made, _ := w.key(who, "another", access.Viewer)
		if made.MadeBy != k.ID || made.CreatedBy != "intern (as Alice (CFO))" {
			t.Errorf("%+v", made)
		}
	})
}

// What a viewer is refused is written at first and counted then, and pushes out nothing.
func TestAuditCountsRepeatedDenialsTogether(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		refused := func(key string) {
			w.Note(context.Background(), access.Entry{Actor: "v", KeyID: key, Role: access.Viewer, Action: "retry-event", Status: http.StatusForbidden})
		}
		for range 3000 {
			refused("apk_1")
		}
		refused("apk_2")
		if got := len(w.audit()); got != 21 {
			t.Errorf("%d lines at once, want 20 of one key and 1 of another", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		all := w.audit()
		times := int64(0)
		for _, e := range all {
			times += e.Times
		}
		if len(all) != 22 || times != 3001 || all[0].Times != 2980 || all[0].KeyID != "apk_1" {
			t.Errorf("%d lines that count %d; the newest: %+v", len(all), times, all[0])
		}
	})
}

func TestAuditWritesEachChange(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		for range 100 {
			w.Note(context.Background(), access.Entry{Actor: "o", KeyID: "apk_1", Role: access.Operator, Action: "retry-event", Status: http.StatusOK})
		}
		if got := len(w.audit()); got != 100 {
			t.Errorf("%d lines, want 100", got)
		}
	})
}

func TestAuditFlushWritesCounts(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		for range 25 {
			w.Note(context.Background(), access.Entry{Actor: "v", KeyID: "apk_1", Role: access.Viewer, Action: "x", Status: http.StatusForbidden})
		}
		w.Flush()
		if all := w.audit(); len(all) != 21 || all[0].Times != 5 {
			t.Errorf("%d lines, the newest counts %d", len(all), all[0].Times)
		}
	})
}

func TestForeignPage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		site, origin string
		want         bool
	}{
		"program": {"", "", false}, "own": {"same-origin", "", false}, "typed": {"none", "", false}, "cross": {"cross-site", "", true}, "same site": {"same-site", "", true},
		"own origin": {"", "http://example.com", false}, "foreign origin": {"", "http://evil.example", true}, "no origin of its own": {"", "null", true},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
		r.Header.Set("Sec-Fetch-Site", c.site)
		r.Header.Set("Origin", c.origin)
		if got := access.ForeignPage(r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSessionOverTLSNeedsTheHostCookie(t *testing.T) {
	t.Parallel()
	run(t, func(w *world) {
		_, secret := w.key(access.Identity{Name: "admin"}, "anna", access.Viewer)
		_, cookie, err := w.Login(from("192.0.2.1"), secret, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name, proto string
			tls, want   bool
		}{
			{"gaff_session", "", false, true},
			{"__Host-gaff_session", "", false, false},
			{"gaff_session", "", true, false}, // a neighboring domain can set it
			{"__Host-gaff_session", "", true, true},
			{"gaff_session", "https", false, false},
			{"__Host-gaff_session", "HTTPS", false, true},
			{"__Host-gaff_session", "https, http", false, true},
			{"gaff_session", "http", false, true},
		} {
			r := from("192.0.2.1")
			r.AddCookie(&http.Cookie{Name: c.name, Value: cookie})
			if c.proto != "" {
				r.Header.Set("X-Forwarded-Proto", c.proto)
			}
			if c.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if _, ok := w.Authorize(r); ok != c.want {
				t.Errorf("%+v: authorized %v", c, ok)
			}
		}
	})
}
