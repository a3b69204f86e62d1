package config

import (
	"cmp"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"gaff"
)

// Answer says what a sender is answered once its event is stored.
type Answer struct {
	// From is a destination, or a handler of a Go program, whose response is passed on; empty: none.
	From string `yaml:"from"`
	// Wait is how long after its receipt a request is answered at the latest; zero: 2.5 s.
	Wait time.Duration `yaml:"wait"`
	// Body and ContentType are answered otherwise; both empty: the source's usual answer.
	Body        string `yaml:"body"`
	ContentType string `yaml:"content_type"`
}

const (
	defaultAnswerWait = 2500 * time.Millisecond
	maxAnswerWait     = 20 * time.Second
)

func (a *Answer) check(k *checker) {
	switch {
	case a.From == "" && a.Body == "" && a.ContentType == "":
		k.part(&a.From, "", "", "is not set, and no body: either; answer: needs one of them")
	case a.From == "" && a.Wait != 0:
		k.value(&a.Wait, errors.New("has no effect without from:, the destination to wait for"))
	case a.Wait != 0 && (a.Wait < 100*time.Millisecond || a.Wait > maxAnswerWait):
		k.value(&a.Wait, fmt.Errorf("must be 100ms to %s", formatDuration(maxAnswerWait)))
	}
	if len(a.Body) > gaff.MaxAnswerBytes {
		k.part(&a.Body, "", "", fmt.Sprintf("is longer than %d bytes", gaff.MaxAnswerBytes))
	}
	if _, _, err := mime.ParseMediaType(a.ContentType); a.ContentType != "" && err != nil {
		k.value(&a.ContentType, errors.New("is not a content type, such as application/json"))
	}
}

// Source returns the settings as the gateway takes them; nil for nil.
func (a *Answer) Source() *gaff.Answer {
	if a == nil {
		return nil
	}
	out := &gaff.Answer{Handler: a.From, Wait: cmp.Or(a.Wait, defaultAnswerWait)}
	if a.Body != "" || a.ContentType != "" {
		out.Else = &gaff.Reply{Status: http.StatusOK, ContentType: cmp.Or(a.ContentType, "application/json"), Body: []byte(a.Body)}
	}
	return out
}
