package destination

import (
	"container/list"
	"fmt"
	"strings"
	"sync"
	"time"

	"gaff"
	"gaff/internal/cel"

	"golang.org/x/time/rate"
)

// keyOf compiles an expression for the key of an event, such as its tenant: a JSON pointer into the
// data, or a CEL expression. Events without a key, or whose key is not a text, number or boolean, have
// the key "".
func keyOf(text string) (func(*gaff.Subject) string, error) {
	if strings.HasPrefix(text, "/") {
		pointer, err := parsePointer(text)
		return func(s *gaff.Subject) string { return at(s.Doc(), pointer) }, err
	}
	variables := cel.Variables{}
	for _, name := range filterVars {
		variables[name] = cel.Any
	}
	env, err := cel.NewEnv(nil, variables)
	if err != nil {
		return nil, err
	}
	expression, err := env.Compile(text, nil, cel.FilterCost)
	if err != nil {
		return nil, fmt.Errorf("%w; want a JSON pointer such as /user/id, or a CEL expression such as data.user.id", err)
	}
	return func(s *gaff.Subject) string {
		v, err := expression.Value(variablesOf(s))
		if err != nil {
			return ""
		}
		switch v := v.(type) {
		case map[string]any, []any, nil:
			return ""
		default:
			return fmt.Sprint(v)
		}
	}, nil
}

// checkKey checks the fields about keys, and compiles the key.
func (c *compiled) checkKey(fault func(string, string, ...any)) {
	switch {
	case c.Key == "" && c.OrderBy == "":
		if c.KeyRate != 0 || c.KeyConcurrency != 0 {
			fault("key", "is missing: keyConcurrency and keyRate need one, such as /user/id")
		}
		return
	case c.Key != "" && c.OrderBy != "":
		fault("key", "orderBy is the key of ordered events, of which one is sent at a time: leave out key")
		return
	case c.OrderBy != "" && c.KeyConcurrency > 1:
		fault("keyConcurrency", "must be 1 with orderBy: events in order are sent one at a time")
	case c.Kind == KindPull && c.KeyRate > 0:
		fault("keyRate", "is not for kind pull: applications pull at their own rate")
	}
	if c.KeyConcurrency < 0 || c.KeyConcurrency > maxConcurrency {
		fault("keyConcurrency", "must be 1 to %d", maxConcurrency)
	}
	if !(c.KeyRate >= 0 && c.KeyRate <= 1e6) {
		fault("keyRate", "must be 0 (no limit) to 1000000 a second")
	}
	if c.Key == "" {
		return
	}
	var err error
	if c.key, err = keyOf(c.Key); err != nil {
		fault("key", "%v", err)
	}
}

// maxKeys is how many keys a destination counts the rate of. The one that was used longest ago gives
// way to a new one, and begins with a full bucket when it comes again.
const maxKeys = 10_000

// keyRates limits how many deliveries of each key are sent a second.
type keyRates struct {
	rate rate.Limit

	mu    sync.Mutex
	byKey map[string]*list.Element
	used  *list.List // of *keyRate, the last used first
}

type keyRate struct {
	key     string
	limiter *rate.Limiter
}

// newKeyRates returns nil for a rate of zero.
func newKeyRates(perSecond float64) *keyRates {
	if perSecond == 0 {
		return nil
	}
	return &keyRates{rate: rate.Limit(perSecond), byKey: map[string]*list.Element{}, used: list.New()}
}

// take takes a place for a delivery of the key now, or returns how long to wait for one.
func (r *keyRates) take(key string, now time.Time) (wait time.Duration) {
	if r == nil || key == "" {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.byKey[key]
	if e == nil {
		if len(r.byKey) >= maxKeys {
			oldest := r.used.Back()
			delete(r.byKey, oldest.Value.(*keyRate).key)
			r.used.Remove(oldest)
		}
		e = r.used.PushFront(&keyRate{key, rate.NewLimiter(r.rate, max(int(r.rate), 1))})
		r.byKey[key] = e
	}
	r.used.MoveToFront(e)
	limiter := e.Value.(*keyRate).limiter
	if limiter.AllowN(now, 1) {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	return max(time.Duration(missing/float64(r.rate)*float64(time.Second)), time.Millisecond)
}
