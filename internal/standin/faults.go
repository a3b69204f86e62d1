package standin

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Fault is something that goes wrong.
type Fault string

// The faults.
const (
	// Duplicate sends the webhook twice at the same moment.
	Duplicate Fault = "duplicate"
	// Late sends it Options.LateBy after the job is done.
	Late Fault = "late"
	// Lost never sends it.
	Lost Fault = "lost"
	// WrongKey signs it with a key that is not published.
	WrongKey Fault = "wrong-key"
	// Stale signs it with a time ten minutes past.
	Stale Fault = "stale"
	// OtherUser sends it in the name of another of the service's customers. fal only.
	OtherUser Fault = "other-user"
	// Error makes the job fail, with one of the two next by chance. Last Frame knows no
	// difference.
	Error Fault = "error"
	// ErrorModel makes it fail with an error of the model (detail is a list).
	ErrorModel Fault = "error-model"
	// ErrorInfra makes it fail with an error of the machinery (detail is a text).
	ErrorInfra Fault = "error-infra"
	// PayloadError sends the webhook without the result, which must be fetched. fal only.
	PayloadError Fault = "payload-error"
	// Burst holds webhooks back and sends all of them at once.
	Burst Fault = "burst"
	// BeforeAnswer sends the webhook before the submit is answered.
	BeforeAnswer Fault = "before-answer"
	// UnknownOutcome takes the job and drops the connection instead of answering.
	UnknownOutcome Fault = "unknown-outcome"
	// Forgets takes the job, and then knows nothing of it.
	Forgets Fault = "forgets"
	// Busy answers the submit with 429, Down with 503; neither takes the job.
	Busy Fault = "busy"
	Down Fault = "down"
	// Large makes the result 5 MB long. fal only.
	Large Fault = "large"
	// ResultLate answers the first question for the result with 504. fal only.
	ResultLate Fault = "result-504"
	// FileGone makes the job's files answer 410, FileCut breaks them off half way (who
	// then asks for the rest gets it), FileRedirect sends to the file by a redirect,
	// FileEscape redirects to an address of a machine's own network, and FileSlow sends a
	// trickle.
	FileGone     Fault = "file-gone"
	FileCut      Fault = "file-cut"
	FileRedirect Fault = "file-redirect"
	FileEscape   Fault = "file-escape"
	FileSlow     Fault = "file-slow"
)

// AllFaults lists them, in the order in which they are explained.
var AllFaults = []Fault{
	Duplicate, Late, Lost, WrongKey, Stale, OtherUser, Error, ErrorModel, ErrorInfra, PayloadError, Burst, BeforeAnswer,
	UnknownOutcome, Forgets, Busy, Down, Large, ResultLate, FileGone, FileCut, FileRedirect, FileEscape, FileSlow,
}

// Faults says how often each fault happens, from 0 (never) to 1 (always).
type Faults map[Fault]float64

// ParseFaults reads a list such as "duplicate,lost=0.2"; a name alone means always.
// Empty: none.
func ParseFaults(text string) (Faults, error) {
	faults := Faults{}
	for _, item := range strings.Split(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, share, given := strings.Cut(item, "=")
		if !slices.Contains(AllFaults, Fault(name)) {
			return nil, fmt.Errorf("fault %q is not known; there are %s", name, FaultNames())
		}
		faults[Fault(name)] = 1
		if given {
			p, err := strconv.ParseFloat(share, 64)
			if err != nil || !(p >= 0 && p <= 1) {
				return nil, fmt.Errorf("fault %s=%s: want a share from 0 to 1, such as %s=0.2", name, share, name)
			}
			faults[Fault(name)] = p
		}
	}
	return faults, nil
}

// FaultNames lists the names of all faults, by commas.
func FaultNames() string {
	names := make([]string, len(AllFaults))
	for i, f := range AllFaults {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// Has reports whether a fault happens, once it was drawn.
func (f Faults) Has(one Fault) bool { return f[one] > 0 }

// String writes the faults as [ParseFaults] reads them.
func (f Faults) String() string {
	var items []string
	for _, one := range AllFaults {
		switch p := f[one]; {
		case p >= 1:
			items = append(items, string(one))
		case p > 0:
			items = append(items, fmt.Sprintf("%s=%g", one, p))
		}
	}
	return strings.Join(items, ",")
}

// draw lets chance decide which of the faults happen to one job.
func (f Faults) draw(r *rand.Rand) Faults {
	drawn := Faults{}
	for _, one := range AllFaults {
		// A number is used for each, so that one share does not change what the others do.
		if chance := r.Float64(); chance < f[one] {
			drawn[one] = 1
		}
	}
	if drawn.Has(Error) && !drawn.Has(ErrorModel) && !drawn.Has(ErrorInfra) {
		drawn[[]Fault{ErrorModel, ErrorInfra}[r.IntN(2)]] = 1
	}
	return drawn
}

func (f Faults) fails() bool { return f.Has(ErrorModel) || f.Has(ErrorInfra) }

// file is the fault that a job's files have; empty for none.
func (f Faults) file() Fault {
	for _, one := range []Fault{FileGone, FileCut, FileRedirect, FileEscape, FileSlow} {
		if f.Has(one) {
			return one
		}
	}
	return ""
}
