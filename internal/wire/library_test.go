package wire_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// members decodes an object.
func members(t *testing.T, doc any) (m map[string]any) {
	t.Helper()
	text, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fill sets all fields to values that are not zero.
func fill(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 11, 29, 12, 0, 0, 123e6, time.UTC)
		return
	case *json.RawMessage:
		*x = json.RawMessage(`{"a":1}`)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text of " + v.Type().String())
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	default: // functions, pointers and interfaces are not encoded
	}
}

// The types of the Go library are encoded as the documents of the API.
func TestLibraryTypesAreEncodedAsDocuments(t *testing.T) {
	t.Parallel()
	var job jobs.Job
	var media jobs.Media
	var run runs.Run
	var step runs.Step
	var log gaff.Log
	var delivery, held gaff.Delivery
	var attempt gaff.Attempt
	var rejection gaff.Rejection
	for _, v := range []any{&job, &media, &run, &step, &log, &delivery, &held, &attempt, &rejection} {
		fill(reflect.ValueOf(v).Elem())
	}
	log.Data = nil // a member of a single event only
	delivery.Held = false
	attempt.Duration = 1500 * time.Microsecond
	rejection.URL, rejection.Header, rejection.Body = "https://h.example/a", map[string][]string{"X-A": {"1"}}, []byte("text")
	binary := rejection
	binary.Body = []byte{0xff, 0xfe}
	for name, c := range map[string]struct{ value, document any }{
		"job": {job, wire.NewJob(job)}, "media": {media, wire.NewMedia(media)}, "run": {run, wire.NewRun(run)},
		"step": {step, wire.NewStepState(step)}, "event": {log, wire.NewEvent(log)},
		"delivery": {delivery, wire.NewDelivery(delivery)}, "held delivery": {held, wire.NewDelivery(held)}, "attempt": {attempt, wire.NewAttempt(attempt, nil)},
		"rejection": {rejection, wire.NewRejection(rejection)}, "rejection of a binary body": {binary, wire.NewRejection(binary)},
	} {
		document := members(t, c.document)
		for key, value := range members(t, c.value) {
			if name == "step" && (key == "name" || key == "input" || key == "result") {
				continue // of the document around it
			}
			if name == "attempt" && key == "deliveryId" {
				continue // attempts are within their delivery
			}
			if want, ok := document[key]; !ok || !cmp.Equal(value, want) {
				t.Errorf("%s: %s is %v, the document has %v (%t)", name, key, value, want, ok)
			}
			delete(document, key)
		}
		for key, value := range document {
			switch key {
			case "expectedSeconds", "expectedAt": // computed
			default:
				if value == nil { // members without a value are left out
					continue
				}
				t.Errorf("%s: %s (%v) is in the document only", name, key, value)
			}
		}
	}
	text, err := json.Marshal(media)
	var back jobs.Media
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back.Links != media.Links || back.Storage != media.Storage {
		t.Errorf("decoded %+v: %v", back, err)
	}
	delivery.Queue, delivery.Order = "", 0 // of the store only
	for _, value := range []any{&delivery, &attempt, &rejection, &binary} {
		back := reflect.New(reflect.TypeOf(value).Elem())
		text, err := json.Marshal(value)
		if err == nil {
			err = json.Unmarshal(text, back.Interface())
		}
		if diff := cmp.Diff(value, back.Interface()); err != nil || diff != "" {
			t.Errorf("decoded %s: %v\n%s", text, err, diff)
		}
	}
}
