package destination

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gaff"
)

func TestSpecsAreChecked(t *testing.T) {
	t.Parallel()
	good := Spec{Name: "app", URL: "https://app.example.com/in"}
	for want, change := range map[string]func(*Spec){
		"name":        func(s *Spec) { s.Name = "No Name" },
		"kind":        func(s *Spec) { s.Kind = "carrier-pigeon" },
		"url":         func(s *Spec) { s.URL = "app.example.com" },
		"events[0]":   func(s *Spec) { s.Events = []string{"fal"} },
		"filter":      func(s *Spec) { s.Filter = "data.x ==" },
		"format":      func(s *Spec) { s.Format = "xml" },
		"headers":     func(s *Spec) { s.Headers = map[string]string{"host": "x"} },
		"secrets[0]":  func(s *Spec) { s.Secrets = []string{"hunter2"} },
		"timeout":     func(s *Spec) { s.Timeout = Duration(time.Hour) },
		"final":       func(s *Spec) { s.Final = []int{200} },
		"orderBy":     func(s *Spec) { s.Order = OrderLatest },
		"rate":        func(s *Spec) { s.Rate = -1 },
		"concurrency": func(s *Spec) { s.Concurrency = 100000 },
		"topic":       func(s *Spec) { s.Kind, s.URL = KindQueue, "nats://h" },
	} {
		s := good
		change(&s)
		err := s.Check()
		if !errors.Is(err, gaff.ErrInvalid) || !strings.Contains(err.Error(), want+":") {
			t.Errorf("%s: %v", want, err)
		}
	}
	bad := Spec{Name: "X", URL: "ftp://x", Events: []string{"a b"}}
	if err := bad.Check(); err == nil || strings.Count(err.Error(), "; ") != 2 {
		t.Errorf("a fault is missing: %v", err)
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}
