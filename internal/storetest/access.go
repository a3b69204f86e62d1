package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/internal/access"
)

// addKeys adds apk_1, which ends in an hour, with the hash "hash0", and apk_2 with "hash1".
func (s *suite) addKeys() (first, second access.Key) {
	s.Helper()
	first = access.Key{
		ID: "apk_1", Name: "Ünïcode 'key'", Role: access.Operator, Hint: "WXYZ", CreatedBy: "admin", MadeBy: "apk_0", CreatedAt: s.now,
		Scope: access.Scope{Project: "film '1'", Source: "fal", Destination: "app", Operations: []string{"list-jobs"}}, Rate: 7,
		ExpiresAt: s.now.Add(time.Hour),
	}
	second = access.Key{ID: "apk_2", Name: "second", Role: access.Viewer, Hint: "ABCD", CreatedBy: "admin", CreatedAt: s.now}
	for i, k := range []access.Key{first, second} {
		s.must(s.st.AddKey(s.ctx, k, fmt.Sprint("hash", i)))
	}
	return first, second
}

func testKeys(s *suite) {
	key, _ := s.addKeys()
	if err := s.st.AddKey(s.ctx, access.Key{ID: "apk_3", Role: access.Viewer, CreatedAt: s.now}, "hash0"); err == nil {
		s.Error("two keys with one secret")
	}
	got, err := s.st.KeyByHash(s.ctx, "hash0")
	s.must(err)
	s.equal("key", *got, key)
	_, err = s.st.KeyByHash(s.ctx, "hash9")
	s.wants("unknown secret", err, gaff.ErrNotFound)
	_, err = s.st.Key(s.ctx, "apk_9")
	s.wants("unknown key", err, gaff.ErrNotFound)

	later := s.now.Add(10 * time.Minute)
	s.must(s.st.Touch(s.ctx, "apk_1", "192.0.2.9", later))
	got, err = s.st.Key(s.ctx, "apk_1")
	s.must(err)
	key.LastUsedAt, key.LastUsedFrom = later, "192.0.2.9"
	s.equal("used key", *got, key)

	s.wants("revoke an unknown key", s.st.RevokeKey(s.ctx, "apk_9", later), gaff.ErrNotFound)
	s.must(s.st.RevokeKey(s.ctx, "apk_1", later))
	s.wants("revoke twice", s.st.RevokeKey(s.ctx, "apk_1", later), gaff.ErrConflict)
	keys, err := s.st.Keys(s.ctx)
	s.must(err)
	states := map[string]string{}
	for _, k := range keys {
		states[k.ID] = k.State(later)
	}
	s.equal("states", states, map[string]string{"apk_1": "revoked", "apk_2": "active"})
}

func testSessions(s *suite) {
	s.addKeys()
	session := access.Session{
		ID: "ses_1", Name: "anna", As: "Ann", Role: access.Operator, Origin: "apk_1", Address: "192.0.2.1", Agent: "a browser",
		CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour), LastUsedAt: s.now,
	}
	other := session
	other.ID, other.Origin = "ses_2", "apk_2"
	other.Scope, other.Subject, other.IDToken = access.Scope{Project: "film"}, "user-1", "a.token.of-the-provider"
	for i, c := range []access.Session{session, other} {
		s.must(s.st.AddSession(s.ctx, c, fmt.Sprint("cookie", i)))
	}
	open, err := s.st.SessionByHash(s.ctx, "cookie0")
	s.must(err)
	session.Rate = 7 // its key's
	s.equal("session", *open, session)
	open, err = s.st.SessionByHash(s.ctx, "cookie1")
	s.must(err)
	s.equal("session of the identity provider", *open, other)
	later := s.now.Add(10 * time.Minute)
	s.must(s.st.Touch(s.ctx, "ses_1", "192.0.2.9", later))
	s.must(s.st.RevokeKey(s.ctx, "apk_1", later))
	open, err = s.st.SessionByHash(s.ctx, "cookie0")
	s.must(err)
	if !open.EndedAt.Equal(later) || !open.LastUsedAt.Equal(later) {
		s.Errorf("session of a revoked key: %+v, want it used and ended at %s", open, later)
	}
	ids := func(at time.Time) (ids []string) {
		all, err := s.st.Sessions(s.ctx, at)
		s.must(err)
		for _, c := range all {
			ids = append(ids, c.ID)
		}
		return ids
	}
	s.equal("open sessions", ids(later), []string{"ses_2"})
	s.equal("open sessions past their time", ids(s.now.Add(time.Hour)), []string{})
	s.must(s.st.EndSession(s.ctx, "ses_2", later))
	open, err = s.st.SessionByHash(s.ctx, "cookie1")
	s.must(err)
	s.equal("provider's token of an ended session", open.IDToken, "")
	s.wants("end twice", s.st.EndSession(s.ctx, "ses_2", later), gaff.ErrNotFound)
}

func testPruneSessions(s *suite) {
	base := access.Session{Name: "anna", Role: access.Viewer, Origin: "oidc:now", IDToken: "a.token.of-the-provider", CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour), LastUsedAt: s.now}
	for id, change := range map[string]func(*access.Session){
		"open":     func(*access.Session) {},
		"expired":  func(c *access.Session) { c.ExpiresAt = s.now.Add(time.Minute) },
		"unused":   func(c *access.Session) { c.LastUsedAt = s.now.Add(-time.Hour) },
		"too old":  func(c *access.Session) { c.CreatedAt = s.now.Add(-time.Hour) },
		"provider": func(c *access.Session) { c.Origin = "oidc:before" },
	} {
		c := base
		c.ID = id
		change(&c)
		s.must(s.st.AddSession(s.ctx, c, "cookie "+id))
	}
	s.must(s.st.PruneSessions(s.ctx, access.EndedSessions{
		Now: s.now.Add(2 * time.Minute), UnusedSince: s.now.Add(-time.Minute), OpenedBefore: s.now.Add(-time.Minute), Origin: "oidc:now",
	}))
	for id, want := range map[string]string{"open": base.IDToken, "unused": "", "too old": "", "provider": ""} {
		c, err := s.st.SessionByHash(s.ctx, "cookie "+id)
		s.must(err)
		s.equal("provider's token of the session "+id, c.IDToken, want)
	}
	_, err := s.st.SessionByHash(s.ctx, "cookie expired")
	s.wants("an expired session", err, gaff.ErrNotFound)
	s.equal("tables with the token", s.naming(base.IDToken), map[string]int{"session": 1})
}

func testLoginLinks(s *suite) {
	link := access.Link{Name: "admin", Role: access.Admin, Origin: "token:0123", ExpiresAt: time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)}
	for _, hash := range []string{"one", "two"} {
		if err := s.st.AddLink(s.ctx, link, hash); err != nil {
			s.Fatal(err)
		}
	}
	got, err := s.st.TakeLink(s.ctx, "one", time.Now())
	if err != nil {
		s.Fatal(err)
	}
	if diff := cmp.Diff(&link, got); diff != "" {
		s.Error(diff)
	}
	for range 2 {
		if got, err = s.st.Link(s.ctx, "two", time.Now()); err != nil {
			s.Fatal(err)
		}
	}
	if diff := cmp.Diff(&link, got); diff != "" {
		s.Error(diff)
	}
	for what, take := range map[string]func() error{
		"read after it was used": func() error { _, err := s.st.Link(s.ctx, "one", time.Now()); return err },
		"read after its end":     func() error { _, err := s.st.Link(s.ctx, "two", link.ExpiresAt); return err },
		"used a second time":     func() error { _, err := s.st.TakeLink(s.ctx, "one", time.Now()); return err },
		"too late":               func() error { _, err := s.st.TakeLink(s.ctx, "two", link.ExpiresAt); return err },
		"unknown":                func() error { _, err := s.st.TakeLink(s.ctx, "three", time.Now()); return err },
	} {
		if err := take(); !errors.Is(err, gaff.ErrNotFound) {
			s.Errorf("%s: %v", what, err)
		}
	}
}

func testAudit(s *suite) {
	var all []access.Entry
	for i := range 7 {
		e := access.Entry{
			ID: fmt.Sprint("aud_", i), At: s.now.Add(time.Duration(i) * time.Second), Actor: "anna", Role: access.Operator, Via: access.ViaKey,
			ViaID: "apk_1", Address: "192.0.2.1", Action: "retry-event", Target: "evt_1", Status: 200, Times: 1, KeyID: "apk_1", As: "Ann", Detail: []byte(`{"tries":1}`),
		}
		if i%2 == 0 {
			e.Actor, e.Target, e.Action, e.Detail = "bob", "", "create-key", nil
		}
		if err := s.st.AddAudit(s.ctx, e); err != nil {
			s.Fatal(err)
		}
		all = append([]access.Entry{e}, all...)
	}
	var paged []access.Entry
	for cursor := ""; ; {
		page, err := s.st.Audit(s.ctx, access.AuditFilter{Cursor: gaff.Cursor{After: cursor, Limit: 3}})
		if err != nil {
			s.Fatal(err)
		}
		paged = append(paged, page.Items...)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		s.Error(diff)
	}
	for name, c := range map[string]struct {
		f    access.AuditFilter
		want int
	}{
		"actor":  {access.AuditFilter{Actor: "bob"}, 4},
		"action": {access.AuditFilter{Action: "retry-event"}, 3},
		"target": {access.AuditFilter{Target: "evt_1"}, 3},
		"none":   {access.AuditFilter{Target: "evt_2"}, 0},
		"since":  {access.AuditFilter{Since: s.now.Add(2 * time.Second)}, 5},
		"until":  {access.AuditFilter{Until: s.now.Add(2 * time.Second)}, 2},
		"period": {access.AuditFilter{Actor: "bob", Since: s.now.Add(time.Second), Until: s.now.Add(5 * time.Second)}, 2},
	} {
		s.Run(name, func(t *testing.T) {
			if page, err := s.st.Audit(s.ctx, c.f); err != nil || len(page.Items) != c.want {
				t.Errorf("%d entries, want %d (%v)", len(page.Items), c.want, err)
			}
		})
	}
}

func testSessionsEndWithTheirKey(s *suite) {
	for i, k := range []access.Key{
		{ID: "apk_a", Name: "revoked", Role: access.Viewer, CreatedAt: s.now},
		{ID: "apk_b", Name: "expires", Role: access.Viewer, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Minute)},
	} {
		if err := s.st.AddKey(s.ctx, k, fmt.Sprint("key", i)); err != nil {
			s.Fatal(err)
		}
	}
	// A session that is opened while its key is revoked.
	if err := s.st.RevokeKey(s.ctx, "apk_a", s.now); err != nil {
		s.Fatal(err)
	}
	for i, origin := range []string{"apk_a", "apk_b", "token:0123"} {
		err := s.st.AddSession(s.ctx, access.Session{
			ID: "ses_" + origin, Name: "x", Role: access.Viewer, Origin: origin, CreatedAt: s.now, ExpiresAt: s.now.Add(time.Hour), LastUsedAt: s.now,
		}, fmt.Sprint("c", i))
		if err != nil {
			s.Fatal(err)
		}
	}
	for hash, want := range map[string]struct{ ended, expires time.Time }{
		"c0": {s.now, s.now.Add(time.Hour)}, "c1": {time.Time{}, s.now.Add(time.Minute)}, "c2": {time.Time{}, s.now.Add(time.Hour)},
	} {
		if got, err := s.st.SessionByHash(s.ctx, hash); err != nil || !got.EndedAt.Equal(want.ended) || !got.ExpiresAt.Equal(want.expires) {
			s.Errorf("%s: %+v %v", hash, got, err)
		}
	}
	if open, err := s.st.Sessions(s.ctx, s.now.Add(2*time.Minute)); err != nil || len(open) != 1 || open[0].Origin != "token:0123" {
		s.Errorf("open: %+v %v", open, err)
	}
}

func testRevokeMade(s *suite) {
	for _, k := range [][2]string{{"apk_root", ""}, {"apk_child", "apk_root"}, {"apk_gone", "apk_root"}, {"apk_grandchild", "apk_gone"}, {"apk_other", "apk_x"}} {
		if err := s.st.AddKey(s.ctx, access.Key{ID: k[0], Name: "k", Role: access.Admin, MadeBy: k[1], CreatedAt: s.now}, "hash "+k[0]); err != nil {
			s.Fatal(err)
		}
	}
	if err := s.st.RevokeKey(s.ctx, "apk_gone", s.now); err != nil {
		s.Fatal(err)
	}
	got, err := s.st.RevokeMade(s.ctx, "apk_root", s.now.Add(time.Second))
	if diff := cmp.Diff([]string{"apk_child", "apk_grandchild"}, got); err != nil || diff != "" {
		s.Error(err, diff)
	}
	for id, want := range map[string]string{"apk_root": "active", "apk_child": "revoked", "apk_gone": "revoked", "apk_grandchild": "revoked", "apk_other": "active"} {
		if k, err := s.st.Key(s.ctx, id); err != nil || k.State(s.now.Add(time.Minute)) != want {
			s.Errorf("%s: %+v %v, want %s", id, k, err, want)
		}
	}
	if got, err := s.st.RevokeMade(s.ctx, "apk_root", s.now); err != nil || len(got) != 0 {
		s.Errorf("again: %v %v", got, err)
	}
}

func testAuditRetention(s *suite) {
	add := func(n int, status int, at time.Time) {
		for i := range n {
			if err := s.st.AddAudit(s.ctx, access.Entry{ID: fmt.Sprint("aud_", status, "_", at.Unix(), "_", i), At: at, Actor: "a", Action: "x", Status: status, Times: 3}); err != nil {
				s.Fatal(err)
			}
		}
	}
	count := func() (done, refused int) {
		for cursor := ""; ; {
			page, err := s.st.Audit(s.ctx, access.AuditFilter{Cursor: gaff.Cursor{After: cursor, Limit: 500}})
			if err != nil {
				s.Fatal(err)
			}
			for _, e := range page.Items {
				if e.Times != 3 {
					s.Errorf("%d times", e.Times)
				}
				if e.Status < 400 {
					done++
				} else {
					refused++
				}
			}
			if cursor = page.Next; cursor == "" {
				return done, refused
			}
		}
	}
	old := s.now.Add(-48 * time.Hour)
	add(3, 200, old)
	add(230, 403, old)
	add(25, 200, s.now)
	add(5, 500, s.now)
	for _, c := range []struct {
		what          string
		before        time.Time
		most          int64
		done, refused int
	}{
		{"no bounds", time.Time{}, 0, 28, 235},
		{"age", s.now.Add(-time.Hour), 0, 25, 5},
		{"number", time.Time{}, 20, 20, 2},
		{"nothing more", s.now.Add(-time.Hour), 20, 20, 2},
	} {
		_, err := s.st.PruneAudit(s.ctx, c.before, c.most)
		if done, refused := count(); err != nil || done != c.done || refused != c.refused {
			s.Errorf("%s: %d done and %d refused, want %d and %d (%v)", c.what, done, refused, c.done, c.refused, err)
		}
	}
}
