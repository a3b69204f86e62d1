package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"gaff"
)

func testRejections(s *suite) {
	first := &gaff.Rejection{ID: "rej_first", Source: "shop", Status: 401, Reason: "no signature", Method: "POST", URL: "/x?y",
		RemoteAddr: "192.0.2.1", Header: map[string][]string{"A": {"b"}}, Body: []byte("\x00\xff"), BodySize: 1 << 40, ReceivedAt: s.now}
	s.must(s.st.Reject(s.ctx, first))
	got, err := s.st.Rejection(s.ctx, "rej_first")
	s.must(err)
	s.equal("rejection", got, first)
	for i := range 3 * MaxRejections {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: fmt.Sprint("rej_", i), Source: []string{"a", "b"}[i%2], Status: 404, ReceivedAt: s.now}))
	}
	all := pages(s, func(c gaff.Cursor) (gaff.Page[gaff.Rejection], error) {
		return s.st.Rejections(s.ctx, gaff.RejectionFilter{Cursor: c})
	})
	if len(all) < MaxRejections*9/10 || len(all) > MaxRejections*11/10 || all[0].ID != fmt.Sprint("rej_", 3*MaxRejections-1) {
		s.Errorf("%d are kept, the newest is %s", len(all), all[0].ID)
	}
	if _, err := s.st.Rejection(s.ctx, "rej_first"); err != nil {
		s.Errorf("a flood of unknown sources evicted a known one's rejection: %v", err)
	}
	for i := range 3 * MaxRejections {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{
			ID: fmt.Sprint("rej_own_", i), Source: "shop", Status: 401, RemoteAddr: "198.51.100.7", ReceivedAt: s.now,
			Whole: &gaff.Request{Method: "POST", URL: "/", Body: make([]byte, 1000), ReceivedAt: s.now},
		}))
	}
	if _, err := s.st.Rejection(s.ctx, "rej_first"); err != nil {
		s.Errorf("a flood of one client evicted another's rejection of the same source: %v", err)
	}
	for i := range 3 * MaxRejections {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{
			ID: fmt.Sprint("rej_net_", i), Source: "shop", Status: 401, RemoteAddr: fmt.Sprintf("2001:db8:1:2::%x", i+1), ReceivedAt: s.now,
		}))
	}
	if _, err := s.st.Rejection(s.ctx, "rej_first"); err != nil {
		s.Errorf("a flood from one IPv6 network evicted another's rejection of the same source: %v", err)
	}
	page, err := s.st.Rejections(s.ctx, gaff.RejectionFilter{Source: "b"})
	s.must(err)
	for _, r := range page.Items {
		if r.Source != "b" {
			s.Errorf("source %s in the list of b", r.Source)
		}
	}
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	var rejected int64
	for _, sc := range counts.Sources {
		if rejected += sc.Rejected; sc.Source != "" && sc.Source != "shop" {
			s.Errorf("the invented name %q counts as a source", sc.Source)
		}
	}
	if rejected != 9*MaxRejections+1 {
		s.Errorf("%d are counted", rejected)
	}
}

func testQuarantine(s *suite) {
	reject := func(id string, size int, at time.Time) {
		s.must(s.st.Reject(s.ctx, &gaff.Rejection{ID: id, Source: "shop", Status: 401, ReceivedAt: at, Whole: &gaff.Request{
			Method: "POST", URL: "https://a.test/api/v1/webhooks/shop/h?x=1", RemoteAddr: "192.0.2.1",
			Header: map[string][]string{"Authorization": {"Bearer s3cret"}, "X": {"a", "\xff"}}, Body: bytes.Repeat([]byte{0xfe}, size), ReceivedAt: at,
		}}))
	}
	now := time.Now().Truncate(time.Microsecond)
	reject("rej_whole", 1000, now)
	r, err := s.st.Quarantined(s.ctx, "rej_whole")
	s.must(err)
	if r.Method != "POST" || r.URL != "https://a.test/api/v1/webhooks/shop/h?x=1" || r.RemoteAddr != "192.0.2.1" || len(r.Body) != 1000 ||
		!r.ReceivedAt.Equal(now) || r.Header["X"][1] != "\xff" || r.Header.Get("Authorization") != "Bearer s3cret" {
		s.Errorf("the request is read as %+v", r)
	}
	rj, err := s.st.Rejection(s.ctx, "rej_whole")
	s.must(err)
	if !rj.Rescuable || rj.RescuedAs != "" || rj.Whole != nil {
		s.Errorf("the rejection says %+v", rj)
	}
	s.must(s.st.Rescued(s.ctx, "rej_whole", "evt_1"))
	rj, err = s.st.Rejection(s.ctx, "rej_whole")
	s.must(err)
	if rj.Rescuable || rj.RescuedAs != "evt_1" {
		s.Errorf("after the rescue: %+v", rj)
	}
	_, err = s.st.Quarantined(s.ctx, "rej_whole")
	s.wants("rescued", err, gaff.ErrNotFound)

	reject("rej_old", 10, now.Add(-8*24*time.Hour))
	_, err = s.st.Quarantined(s.ctx, "rej_old")
	s.wants("too old", err, gaff.ErrNotFound)
	reject("rej_huge", MaxQuarantine/2, now)
	_, err = s.st.Quarantined(s.ctx, "rej_huge")
	s.wants("too large", err, gaff.ErrNotFound)
	const each = 1000
	many := 3 * MaxQuarantine / each
	for i := range many {
		reject(fmt.Sprint("rej_", i), each, now)
	}
	kept := 0
	for i := range many {
		if _, err := s.st.Quarantined(s.ctx, fmt.Sprint("rej_", i)); err == nil {
			kept++
		} else if kept > 0 {
			s.Fatalf("rej_%d was removed, and older ones were not: %v", i, err)
		}
	}
	if kept*each > MaxQuarantine || kept*each < MaxQuarantine/3 {
		s.Errorf("%d bytes are kept of at most %d", kept*each, MaxQuarantine)
	}
}

func testKeyUses(s *suite) {
	for i, key := range []string{"k1", "k2", "k1", ""} {
		ev := &gaff.Event{Source: "shop", Type: "t", DedupeKey: fmt.Sprint(i), ReceivedAt: s.now, Data: []byte("{}"),
			Request: &gaff.Request{Method: "POST", Body: []byte("{}")}, Verification: gaff.Verification{Scheme: "s", KeyID: key}}
		_, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev})
		s.must(err)
	}
	uses, err := s.st.KeyUses(s.ctx, "shop")
	s.must(err)
	var names []string
	for _, u := range uses {
		names = append(names, u.KeyID)
		if time.Since(u.LastUsedAt) > time.Minute || u.FirstUsedAt.After(u.LastUsedAt) {
			s.Errorf("%+v", u)
		}
	}
	slices.Sort(names)
	s.equal("keys", names, []string{"k1", "k2"})
	uses, err = s.st.KeyUses(s.ctx, "other")
	s.must(err)
	s.equal("keys of another source", len(uses), 0)
}

func testKept(s *suite) {
	got, err := s.st.Kept(s.ctx, "a")
	s.must(err)
	s.equal("kept before", got, "")
	for i, value := range []string{"one", "two"} {
		kept, err := s.st.Keep(s.ctx, "a", value)
		s.must(err)
		s.equal("kept "+value, kept, i == 0)
	}
	got, err = s.st.Kept(s.ctx, "a")
	s.must(err)
	s.equal("kept", got, "one")
	s.must(s.st.Unkeep(s.ctx, "a"))
	got, err = s.st.Kept(s.ctx, "a")
	s.must(err)
	s.equal("kept after", got, "")
}
