package storetest

import (
	"encoding/json"
	"fmt"
	"sync"

	"gaff"
	"gaff/internal/secretbox"
	"gaff/jobs"
)

func (s *suite) box(keys ...string) *secretbox.Box {
	s.Helper()
	b, err := secretbox.New(keys)
	s.must(err)
	return b
}

func testSecrets(s *suite) {
	const secret = "whsec_PLAIN"
	put := func(name string) {
		s.Helper()
		_, err := s.st.PutRecord(s.ctx, gaff.Record{Kind: "destination", Name: name, Revision: gaff.NewRecord, Value: json.RawMessage(`{"secret":"` + secret + `"}`)})
		s.must(err)
	}
	put("a")
	_, err := s.st.Keep(s.ctx, "key of source asana", secret)
	s.must(err)
	s.write(func(tx jobs.Tx) error {
		for _, name := range []string{"media_link_key", "callback_secret"} {
			if err := tx.SetSetting(s.ctx, name, secret); err != nil {
				return err
			}
		}
		return nil
	})
	before, err := s.st.Record(s.ctx, "destination", "a")
	s.must(err)
	first, err := secretbox.NewKey()
	s.must(err)
	second, err := secretbox.NewKey()
	s.must(err)

	n, err := s.st.UseSecretKeys(s.ctx, s.box(first))
	s.must(err)
	s.equal("encrypted at the start", n, 4)
	put("b")
	s.equal("tables with the plain secret", s.naming(secret), map[string]int{})
	s.secretsAre(secret, "a", "b")
	after, err := s.st.Record(s.ctx, "destination", "a")
	s.must(err)
	s.equal("the record", after, before)

	// Keys are rotated while secrets are written.
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 10 {
				put(fmt.Sprint("w", w, i))
			}
		})
	}
	_, err = s.st.UseSecretKeys(s.ctx, s.box(second, first))
	s.must(err)
	writers.Wait()
	_, err = s.st.UseSecretKeys(s.ctx, s.box(second, first))
	s.must(err)
	c, err := s.st.CountSecrets(s.ctx, s.box(second))
	s.must(err)
	s.equal("encrypted with the second key", c.Current, 45)
	s.equal("others", c.Older+c.Plain+c.Locked, 0)
	all, err := s.st.Records(s.ctx, "destination")
	s.must(err)
	s.equal("destinations", len(all), 42)
	s.secretsAre(secret, "a", "b")

	if _, err := s.st.UseSecretKeys(s.ctx, s.box(first)); err == nil {
		s.Error("the database was opened with an old key")
	}
	s.secretsAre(secret, "a") // the keys in use stay
	s.reopen()
	if _, err := s.st.UseSecretKeys(s.ctx, nil); err == nil {
		s.Error("the database was opened without a key")
	}
	if _, err := s.st.Record(s.ctx, "destination", "a"); err == nil {
		s.Error("a record was read without a key")
	}
	_, err = s.st.UseSecretKeys(s.ctx, s.box(second))
	s.must(err)
	s.secretsAre(secret, "a", "b")
}

// secretsAre reads the secrets of testSecrets.
func (s *suite) secretsAre(secret string, destinations ...string) {
	s.Helper()
	for _, name := range destinations {
		r, err := s.st.Record(s.ctx, "destination", name)
		s.must(err)
		s.equal(name, string(r.Value), `{"secret":"`+secret+`"}`)
	}
	kept, err := s.st.Kept(s.ctx, "key of source asana")
	s.must(err)
	s.equal("a key that was handed over", kept, secret)
	s.write(func(tx jobs.Tx) error {
		for _, name := range []string{"media_link_key", "callback_secret"} {
			text, err := tx.Setting(s.ctx, name)
			if err != nil {
				return err
			}
			s.equal(name, text, secret)
		}
		return nil
	})
}
