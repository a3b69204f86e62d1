package gaff

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Guard bounds who may send to a source and how much, before anything is read or
// verified. The zero value lets all in.
type Guard struct {
	// Allow lists the addresses that may send; empty: all. Behind a proxy it needs
	// Options.TrustedProxies.
	Allow []netip.Prefix
	// Rate is how many verified requests a second are taken in the long run, Burst how many
	// at once; zero Rate: no bound, zero Burst: one second's worth. More are answered 429.
	// Unverified requests have the same bound for each client address, and use up nothing of
	// this one.
	Rate  float64
	Burst int
	// ContentTypes lists the media types that are taken, such as "application/json";
	// empty: all.
	ContentTypes []string
}

var (
	tooMany          = reply{status: http.StatusTooManyRequests, body: `{"error":"Too many requests"}`}
	wrongContentType = reply{status: http.StatusUnsupportedMediaType, body: `{"error":"Unsupported content type"}`}
)

// stopped refuses what the source's guard does not let in; status 0 lets it in.
func (s *Source) stopped(r *http.Request, from string) reply {
	if len(s.Guard.Allow) > 0 {
		addr, err := netip.ParseAddr(from)
		if err != nil || !contains(s.Guard.Allow, addr) {
			// The same words as for a wrong signature: a stranger learns nothing.
			return badSignature.because("the address %s is not among those allowed", from)
		}
	}
	if len(s.Guard.ContentTypes) > 0 && r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || !slices.ContainsFunc(s.Guard.ContentTypes, func(want string) bool { return strings.EqualFold(want, kind) }) {
			return wrongContentType.because("Content-Type %.100q; %s is wanted", r.Header.Get("Content-Type"), strings.Join(s.Guard.ContentTypes, " or "))
		}
	}
	return reply{}
}

// overRate takes a verified request from the source's rate; status 0 lets it in.
func (s *Source) overRate() reply {
	if s.verified == nil {
		return reply{}
	}
	wait, ok := takeFrom(s.verified, time.Now(), 1)
	if ok {
		return reply{}
	}
	return tooMany.because("over the limit of %g requests a second", s.Guard.Rate).after(wait)
}

// overUnverified takes an unverified request from what its client address may send to the
// source; status 0 lets it be rejected and stored like any other. Verified requests of the
// address are not counted, and never refused for it.
func (s *Source) overUnverified(from string) reply {
	if s.unverified == nil {
		return reply{}
	}
	wait, ok := s.unverified.take(from, time.Now(), 1)
	if ok {
		return reply{}
	}
	rp := tooMany.because("over the limit of %g unverified requests a second from %s", s.Guard.Rate, from).after(wait)
	rp.unstored = true
	return rp
}

func (rp reply) after(wait time.Duration) reply {
	rp.retryAfter = max(int(wait/time.Second)+1, 1)
	return rp
}

func contains(list []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ClientAddress is the address of who sent a request: see [Options.TrustedProxies].
func (g *Gateway) ClientAddress(r *http.Request) string { return g.client(r) }

// client is the address of who sent the request: the peer, or, where that is a proxy that
// the operator declared, whom it names. Of X-Forwarded-For only what declared proxies
// added is believed: the last address that is none of theirs.
func (g *Gateway) client(r *http.Request) string {
	from := peer(r)
	if len(g.opt.TrustedProxies) == 0 {
		return from
	}
	addr, err := netip.ParseAddr(from)
	if err != nil || !contains(g.opt.TrustedProxies, addr) {
		return from
	}
	var chain []string
	for _, value := range r.Header.Values("X-Forwarded-For") {
		chain = append(chain, strings.Split(value, ",")...)
	}
	for _, text := range slices.Backward(chain) {
		text = strings.TrimSpace(text)
		if host, _, err := net.SplitHostPort(text); err == nil {
			text = host
		}
		next, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			return from // what is before it proves nothing either
		}
		if from = next.Unmap().String(); !contains(g.opt.TrustedProxies, next) {
			return from
		}
	}
	return from
}
