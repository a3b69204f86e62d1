package wire_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/destination"
	"gaff/internal/access"
	"gaff/internal/alert"
	"gaff/internal/issue"
	"gaff/internal/stats"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/workflow/runs"
)

var update = flag.Bool("update", false, "write testdata/documents.jsonl")

// sample returns a value with every exported field set, or the zero value.
func sample[T any](full bool) T {
	var v T
	if full {
		n := 0
		fillValue(reflect.ValueOf(&v).Elem(), "x", &n, 0)
	}
	return v
}

// fillValue sets a value by the name of its field, so that the order of fields does not matter.
func fillValue(v reflect.Value, name string, n *int, depth int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, len(name)%60, int(name[0])%60, 123_456_789, time.FixedZone("", 3600))))
		return
	case v.Type() == reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte(fmt.Sprintf(`{"%s":1e400,"t":"a`+"\xff"+`<b>"}`, name)))
		return
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(len(name)) * 1_234_567)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s <b> \u2028 \xff", name))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1.25)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("bytes <b>\xff"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillValue(v.Index(0), name, n, depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		e := reflect.New(v.Type().Elem()).Elem()
		fillValue(e, name, n, depth+1)
		k := reflect.New(v.Type().Key()).Elem()
		k.SetString("X-Some")
		v.SetMapIndex(k, e)
	case reflect.Pointer:
		if depth < 6 {
			v.Set(reflect.New(v.Type().Elem()))
			fillValue(v.Elem(), name, n, depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				fillValue(v.Field(i), f.Name, n, depth+1)
			}
		}
	}
}

// The JSON of every document, with all members set and with none, is compared byte for byte.
func TestDocumentsAreStable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	write := func(name string, doc any) {
		fmt.Fprintf(&out, "%s: ", name)
		if err := wire.Write(&out, doc); err != nil {
			t.Fatal(name, err)
		}
	}
	for _, full := range []bool{true, false} {
		write("Event", wire.NewEvent(sample[gaff.Log](full)))
		d := sample[gaff.EventDetail](full)
		if full {
			d.Attempts = append(d.Attempts, d.Attempts[0])
			d.Attempts[0].DeliveryID, d.Attempts[1].DeliveryID = d.Deliveries[0].ID, d.Deliveries[0].ID
			d.Attempts[1].Error = "another"
			d.Deliveries[0].Held = false
		}
		write("EventDetail", wire.NewEventDetail(&d))
		write("Delivery", wire.NewDelivery(sample[gaff.Delivery](full)))
		write("Issue", wire.NewIssue(sample[issue.Issue](full)))
		write("Alert", wire.NewAlert(sample[alert.Alert](full)))
		write("Rejection", wire.NewRejection(sample[gaff.Rejection](full)))
		write("SourceStats", wire.NewSourceStats(sample[gaff.SourceCount](full)))
		write("Log", wire.NewWebhookLog(sample[gaff.Log](full)))
		write("Job", wire.NewJob(sample[jobs.Job](full)))
		write("Media", wire.NewMedia(sample[jobs.Media](full)))
		write("Project", wire.NewProject(sample[jobs.Project](full)))
		write("Run", wire.NewRun(sample[runs.Run](full)))
		write("StepRow", wire.NewStepState(sample[runs.Step](full)))
		k := sample[access.Key](full)
		k.ExpiresAt = time.Time{}
		write("Key", wire.NewKey(k))
		write("Session", wire.NewSession(sample[access.Session](full)))
		write("Audit", wire.NewAuditEntry(sample[access.Entry](full)))
		m := sample[destination.Managed](full)
		if full {
			m.URL = "https://user:pw@x.example/path"
		}
		write("Destination", wire.NewDestination(m, false))
		write("Destination of a viewer", wire.NewDestination(m, true))
		write("Subscription", wire.NewSubscription(sample[destination.Subscription](full)))
		p := sample[destination.Pulled](true)
		p.Original = full
		write("Pulled", wire.NewPulled(p))
		var h stats.Point
		if full {
			h.Rejected = 3
			h.Received = map[string]int64{"fal": 2}
			h.Reply.Add(3, 2)
		}
		write("PointTotals", wire.NewTotals(&h))
	}
	golden := "testdata/documents.jsonl"
	if *update {
		_ = os.Mkdir("testdata", 0o755)
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, out.Bytes()) {
		t.Errorf("documents differ from %s; if that is wanted, run go test ./internal/wire -update\n%s", golden, cmp.Diff(string(want), out.String()))
	}
}
