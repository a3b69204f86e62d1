package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/jobs"
)

func testAccept(s *suite) {
	ev := s.event(func(ev *gaff.Event) {
		ev.CorrelationID, ev.CallbackToken, ev.OccurredAt = "order-7", "team-a", s.now.Add(-time.Hour)
	})
	rc := s.accept(ev, to("a", "b")...)
	if rc.Duplicate || rc.Conflict || len(rc.Work) != 0 || rc.ID == "" {
		s.Fatalf("receipt %+v", rc)
	}
	d := s.detail(rc.ID)
	want := *ev
	want.ID = rc.ID
	s.equal("event", d.Event, want)
	if d.Status != gaff.StatusPending || d.Unhandled || len(d.Deliveries) != 2 || !d.ProcessedAt.IsZero() {
		s.Errorf("log %+v", d.Log)
	}
	for i, dl := range d.Deliveries {
		if dl.State != gaff.StatePending || dl.MaxAttempts != 3 || dl.Handler != string(rune('a'+i)) || dl.EventID != rc.ID ||
			!dl.RunAt.Equal(ev.ReceivedAt) || dl.Source != "shop" || dl.WebhookID != ev.WebhookID {
			s.Errorf("delivery %+v", dl)
		}
	}
	// An event without a handler is done at once.
	rc = s.accept(s.event())
	if d := s.detail(rc.ID); d.Status != gaff.StatusSuccess || !d.Unhandled || d.ProcessedAt.IsZero() {
		s.Errorf("unhandled: %+v", d.Log)
	}
	// An internal event has no request. A body other than JSON is stored beside the data.
	rc = s.accept(s.event(func(ev *gaff.Event) {
		ev.Request, ev.Verification, ev.Source = nil, gaff.Verification{}, gaff.InternalSource
	}))
	if d := s.detail(rc.ID); d.Request != nil || string(d.Data) != `{"n":3,"seed":17454220438242315174}` {
		s.Errorf("inner: %+v", d.Event)
	}
	rc = s.accept(s.event(func(ev *gaff.Event) { ev.Request.Body, ev.Data = []byte("a=b&\x00\xff"), json.RawMessage(`{"a":"b"}`) }))
	if d := s.detail(rc.ID); string(d.Request.Body) != "a=b&\x00\xff" || string(d.Data) != `{"a":"b"}` {
		s.Errorf("form: %q %q", d.Request.Body, d.Data)
	}
	rc = s.accept(s.event(func(ev *gaff.Event) { ev.Request.Body, ev.Data = []byte{}, json.RawMessage(`{}`) }))
	if d := s.detail(rc.ID); d.Request.Body == nil || len(d.Request.Body) != 0 {
		s.Errorf("empty body: %v", d.Request.Body)
	}
	large := bytes.Repeat([]byte(`0123456789`), 1<<17)
	rc = s.accept(s.event(func(ev *gaff.Event) { ev.Request.Body, ev.Data = large, json.RawMessage(large) }))
	if d := s.detail(rc.ID); !bytes.Equal(d.Request.Body, large) {
		s.Errorf("large body: %d bytes", len(d.Request.Body))
	}
}

func testDuplicate(s *suite) {
	ev := s.event()
	first := s.accept(ev, to("a")...)
	same := *ev
	if rc := s.accept(&same, to("a")...); !rc.Duplicate || rc.Conflict || rc.ID != first.ID {
		s.Errorf("the same event again: %+v", rc)
	}
	for i := range 8 {
		other, body := *ev, []byte(fmt.Sprintf(`{"other":%d}`, i))
		other.Request = &gaff.Request{Method: "POST", URL: "/", Header: map[string][]string{"N": {strconv.Itoa(i)}}, Body: body}
		other.Data, other.ReceivedAt = body, ev.ReceivedAt.Add(time.Second)
		if rc := s.accept(&other); !rc.Duplicate || !rc.Conflict || rc.ID != first.ID {
			s.Errorf("another body: %+v", rc)
		}
	}
	d := s.detail(first.ID)
	if !d.Conflict || d.Duplicates != 9 || len(d.Deliveries) != 1 || string(d.Request.Body) != string(ev.Request.Body) {
		s.Errorf("log %+v", d.Log)
	}
	if len(d.Copies) != 5 || string(d.Copies[4].Body) != `{"other":4}` || d.Copies[0].Header["N"][0] != "0" ||
		!d.Copies[0].ReceivedAt.Equal(ev.ReceivedAt.Add(time.Second)) {
		s.Errorf("copies %+v", d.Copies)
	}
	// Each source has its own keys.
	if rc := s.accept(s.event(func(e *gaff.Event) { e.Source, e.DedupeKey = "other", ev.DedupeKey })); rc.Duplicate {
		s.Error("the key of another source is known")
	}
}

// Signed content is a second key: under another id it is the same event, in one transaction or
// in several, for as long as the event is stored.
func testSignedKey(s *suite) {
	signed := func(dedupe, key string) *gaff.Event {
		return s.event(func(ev *gaff.Event) { ev.DedupeKey, ev.SignedKey = dedupe, key })
	}
	first := s.accept(signed("id-1", "signed-1"), to("a")...)
	if first.Duplicate {
		s.Error("the first event is a duplicate")
	}
	if rc := s.accept(signed("id-2", "signed-1"), to("a")...); !rc.Duplicate || rc.ID != first.ID {
		s.Errorf("under another id: %+v", rc)
	}
	if rc := s.accept(signed("id-1", "signed-2"), to("a")...); !rc.Duplicate || rc.ID != first.ID {
		s.Errorf("signed again under the first id: %+v", rc)
	}
	if rc := s.accept(signed("id-3", "signed-2"), to("a")...); !rc.Duplicate || rc.ID != first.ID {
		s.Errorf("the same content signed again, under another id: %+v", rc)
	}
	if rc := s.accept(s.event(func(ev *gaff.Event) { ev.Source, ev.DedupeKey, ev.SignedKey = "other", "id-9", "signed-1" })); rc.Duplicate {
		s.Error("the signed content of another source is known")
	}
	if rc := s.accept(signed("id-4", "")); rc.Duplicate {
		s.Error("an event without such a key is a duplicate")
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, firsts := map[string]bool{}, 0
	for i := range 16 {
		ev := signed(fmt.Sprint("raced-id-", i), "raced")
		wg.Go(func() {
			rc, err := s.st.Accept(s.ctx, gaff.AcceptParams{Event: ev})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Error(err)
			}
			if ids[rc.ID] = true; !rc.Duplicate {
				firsts++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || firsts != 1 {
		s.Errorf("16 at once are %d events, %d of them new", len(ids), firsts)
	}
}

func testRace(s *suite) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	firsts, ids := map[int]int{}, map[int]string{}
	for range 8 {
		for key := range 40 {
			ev := s.event(func(ev *gaff.Event) { ev.DedupeKey = fmt.Sprint("raced-", key) })
			ev.Data = ev.Request.Body
			wg.Go(func() {
				rc, err := s.st.Accept(context.WithoutCancel(s.ctx), gaff.AcceptParams{Event: ev, Deliveries: to("a")})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					s.Error(err)
				}
				if !rc.Duplicate {
					firsts[key]++
				}
				if ids[key] != "" && ids[key] != rc.ID {
					s.Errorf("key %d has the ids %s and %s", key, ids[key], rc.ID)
				}
				ids[key] = rc.ID
			})
		}
	}
	wg.Wait()
	for key := range 40 {
		if d := s.detail(ids[key]); firsts[key] != 1 || d.Duplicates != 7 || len(d.Deliveries) != 1 {
			s.Errorf("key %d: %d times first, %d duplicates, %d deliveries", key, firsts[key], d.Duplicates, len(d.Deliveries))
		}
	}
	if work := s.claim(500); len(work) != 40 {
		s.Errorf("claimed %d deliveries, want 40", len(work))
	}
}

// Any text in a sender's ids is stored or replaced; it never fails a commit.
func testHostileText(s *suite) {
	for _, text := range []string{"nul\x00nul", "bad \xff\xfe utf-8", "'; drop table event; --", `%_\`, "$1 ? :a @b", "\u202e\U0010ffff", strings.Repeat("x", 2000)} {
		ev := s.event(func(ev *gaff.Event) {
			ev.Type, ev.WebhookID, ev.DedupeKey, ev.CorrelationID, ev.CallbackToken = text, text, text, text, text
			ev.Request.URL, ev.Request.Header = "/?"+text, map[string][]string{"X": {text}}
			ev.Request.Body = []byte(text)
		})
		rc := s.accept(ev, to(text)...)
		again := *ev
		if dup := s.accept(&again); !dup.Duplicate || dup.ID != rc.ID {
			s.Errorf("%q: not known when it comes again", text)
		}
		d := s.detail(rc.ID)
		if string(d.Request.Body) != text {
			s.Errorf("%q: the body is kept as %q", text, d.Request.Body)
		}
		s.must(s.finish(s.claim(1)[0], gaff.StateDead, text))
		if page, err := s.st.Events(s.ctx, gaff.EventFilter{Query: strings.ToValidUTF8(text, "")}); err != nil {
			s.Errorf("search %q: %v (%d)", text, err, len(page.Items))
		}
		rj := &gaff.Rejection{ID: "rej_" + text, Source: text, Status: 401, Reason: text, Method: text, URL: text,
			RemoteAddr: text, Header: map[string][]string{text: {text}}, Body: []byte(text), ReceivedAt: s.now}
		s.must(s.st.Reject(s.ctx, rj))
	}
	w := s.take()
	s.must(s.st.Apply(s.ctx, w.Lease, func(tx jobs.Tx) error {
		j := &jobs.Job{ID: "job\x00\xff", Provider: "p\x00", RequestID: "\xff", Error: "\x00", Result: json.RawMessage(`"\u0000 \ud800"`)}
		if err := tx.InsertJob(s.ctx, j); err != nil {
			return err
		}
		_, err := tx.AddMedia(s.ctx, &jobs.Media{JobID: j.ID, Position: "\x00", URL: "\xff", Metadata: json.RawMessage(`{"a":"\u0000"}`)})
		return err
	}))
}

func testBatch(s *suite) {
	event := func(key string) gaff.AcceptParams {
		return gaff.AcceptParams{
			Event:      &gaff.Event{Source: "batch", Type: "t", DedupeKey: key, ReceivedAt: s.now, Data: []byte(`{"a":1}`)},
			Deliveries: []gaff.Delivery{{Handler: "h", MaxAttempts: 3}}, Take: []bool{true},
		}
	}
	rcs, err := s.st.AcceptAll(s.ctx, []gaff.AcceptParams{event("a"), event("b"), event("a")})
	s.must(err)
	if len(rcs) != 3 || rcs[0].Duplicate || rcs[1].Duplicate || !rcs[2].Duplicate || rcs[2].ID != rcs[0].ID || rcs[0].ID == rcs[1].ID {
		s.Fatalf("receipts %+v", rcs)
	}
	for i, rc := range rcs[:2] {
		if len(rc.Work) != 1 || rc.Work[0].Event.ID != rc.ID {
			s.Errorf("work of %d: %+v", i, rc.Work)
		}
	}
	d, err := s.st.Event(s.ctx, rcs[0].ID)
	s.must(err)
	if len(d.Children) != 1 || d.Children[0] != rcs[1].ID || d.Duplicates != 1 {
		s.Errorf("the first one has children %v and %d duplicates", d.Children, d.Duplicates)
	}
	all, err := s.st.AcceptAll(s.ctx, nil)
	s.must(err)
	if len(all) != 0 {
		s.Errorf("no events became %v", all)
	}
}
