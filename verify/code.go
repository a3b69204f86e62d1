package verify

import (
	"slices"
	"strings"

	"gaff/internal/fault"
)

// senders are the schemes of kind code by Scheme.Name: senders that data cannot describe.
var senders = map[string]func(Scheme, Options, *fault.List) checker{
	"standard-webhooks": func(s Scheme, o Options, f *fault.List) checker {
		if s.HeaderPrefix == "svix-" {
			return families{newStandard(s, o, f)}
		}
		return newStandard(s, o, f)
	},
	"twilio":         newTwilio,
	"adyen":          newAdyen,
	"aws-sns":        newSNS,
	"paypal":         newPayPal,
	"hook0":          newHook0,
	"contentful":     newContentful,
	"dropbox-sign":   newDropboxSign,
	"msgraph":        newGraph,
	"plivo":          newPlivo,
	"travis":         newTravis,
	"paddle-classic": newPaddleClassic,
	"braintree":      newBraintree,
	"lark":           newLark,
	"websub":         newWebSub,
	"adobe":          newAdobe,
}

func newCode(s Scheme, o Options, f *fault.List) checker {
	if sender, ok := senders[s.Name]; ok {
		return sender(s, o, f)
	}
	names := make([]string, 0, len(senders))
	for name := range senders {
		names = append(names, name)
	}
	slices.Sort(names)
	f.OneOf("name", s.Name, strings.Join(names, ", "))
	return nil
}

// undated are the senders whose requests have no timestamp.
var undated = map[string]bool{
	"twilio": true, "adyen": true, "dropbox-sign": true, "msgraph": true, "plivo": true, "travis": true,
	"braintree": true, "paddle-classic": true, "websub": true, "adobe": true,
}

func noTolerance(s Scheme, f *fault.List) {
	if s.Tolerance != nil {
		f.Add("tolerance", "%s sends no timestamp to judge; remove it", s.Name)
	}
}

// KnowsCode reports whether name is a Scheme.Name of kind code.
func KnowsCode(name string) bool { return senders[name] != nil }
