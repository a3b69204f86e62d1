package fal

import (
	"encoding/json"
	"reflect"
	"testing"
)

// Bodies of which the scan must say the same as encoding/json, or nothing.
var decodeBodies = []string{
	`{"request_id":"a","gateway_request_id":"b","status":"OK","payload":{"images":[{"url":"u"}]},"error":null,"payload_error":null}`,
	` { "request_id" : "a" , "status":"completed","result":[1, 2] ,"metadata":{"job_id":"j","project_id":"p","user_id":"u","generation_type":"image","x":{}} } `,
	`{"request_id":"a","request_id":"b","status":null,"metadata":{"job_id":"j"},"metadata":{"user_id":"u"},"payload":1,"payload":null}`,
	`{"request_id":"a","request_id":null,"metadata":{"job_id":"j"},"metadata":null}`,
	`{"Request_ID":"a","STATUS":"OK","metadata":{"Job_Id":"j"}}`,
	`{"request_id":"a","reque\u017ft_id":"b","\u0073tatus":"OK"}`, "{\"re\u017fult\":1,\"\u017ftatus\":\"OK\"}",
	`{"request_id":"a\u0062\n","status":"OK"}`, "{\"request_id\":\"a\xff\",\"status\":\"\xff\"}", "{\"request_id\xff\":\"a\"}",
	`{"request_id":1}`, `{"metadata":[]}`, `{"metadata":"n"}`, `{"metadata":{"job_id":{}}}`, `{"request_id":true}`, `{"payload_error":{}}`,
	`{"request_id":"a"} {}`, `{"request_id":"a"`, `{"request_id":"a",}`, `{}`, `[]`, ``, `null`, `{"a":01}`, `{"payload":"\ud800"}`,
}

func checkScan(t *testing.T, body []byte) {
	t.Helper()
	var got, want envelope
	if !got.scan(body) {
		return
	}
	if err := json.Unmarshal(body, &want); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q: scanned %+v, want %+v (%v)", body, got, want, err)
	}
}

func TestScanReadsAsJSON(t *testing.T) {
	t.Parallel()
	for i, body := range decodeBodies {
		checkScan(t, []byte(body))
		if scanned := new(envelope).scan([]byte(body)); i < 4 && !scanned {
			t.Errorf("%s: left to encoding/json", body)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, body := range decodeBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(checkScan)
}
