package custom_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/jobs"
	"gaff/provider/custom"
	"gaff/sender"
	"gaff/verify"
)

type trusting struct{ gaff.Verifier }

func parser(t *testing.T, scheme sender.Description, o custom.Options) gaff.Parser {
	t.Helper()
	o.Name, o.Scheme, o.Verifier = "it", scheme, trusting{}
	src, err := custom.Source(o)
	if err != nil {
		t.Fatal(err)
	}
	return src.Parser
}

// part is a form of one part.
func part(disposition, kind, value string) string {
	return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\nContent-Type: " + kind + "\r\n\r\n" + value + "\r\n--b--\r\n"
}

func TestBodiesOfOtherKinds(t *testing.T) {
	t.Parallel()
	const multipart = "--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"a\":1}\r\n--b\r\n" +
		"Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nbytes\r\n--b--\r\n"
	for _, c := range []struct {
		content, kind, body string
		want                string // the data; empty: refused
	}{
		{"", "application/x-www-form-urlencoded", "a=1", ""},
		{"", "application/x-www-form-urlencoded", `{"a":1}`, `{"a":1}`},
		{"form", "application/json", `{"a":1}`, `{"a":1}`},
		{"form", "application/x-www-form-urlencoded", "a=1&b=x+y&b=%C3%A9", `{"a":"1","b":["x y","é"]}`},
		{"form", "application/x-www-form-urlencoded; charset=utf-8", "a=%zz", `{"a":"%zz"}`},
		{"form", "application/x-www-form-urlencoded", "a=1;b=2&=x&c&l[]=1&l[]=2&p=50%", `{"":"x","a":"1;b=2","c":"","l[]":["1","2"],"p":"50%"}`},
		{"form", "application/x-www-form-urlencoded; charset=ISO-8859-1", "n=caf%E9&caf%E9=1", `{"café":"1","n":"café"}`},
		{"form", "application/x-www-form-urlencoded", "charset=windows-1252&n=%93caf%E9%94", `{"charset":"windows-1252","n":"“café”"}`},
		{"form:payload", "application/x-www-form-urlencoded", "payload=%EF%BB%BF%7B%7D", `{}`},
		{"form:payload", "multipart/form-data; boundary=b", part(`name="payload"; filename="a.json"`, "application/json", `{"a":1}`), `{"a":1}`},
		{"form:payload", "multipart/form-data; boundary=b", part(`name="payload"; filename="blob"`, "application/octet-stream", `{"a":1}`), `{"a":1}`},
		{"form", "multipart/form-data; boundary=b", part(`name="d"; filename="d.json"`, "application/json", `1`), `{"d":"1"}`},
		{"form", "text/plain", "a=1", ""},
		{"form", "", "a=1", ""},
		{"form:payload", "application/x-www-form-urlencoded", `payload=%7B%22a%22%3A1%7D&x=y`, `{"a":1}`},
		{"form:payload", "application/x-www-form-urlencoded", `payload=%7B`, ""},
		{"form:payload", "application/x-www-form-urlencoded", `other=1`, ""},
		{"form:payload", "application/x-www-form-urlencoded", `payload=%7B%7D&payload=%7B%7D`, ""},
		{"form:json", "multipart/form-data; boundary=b", multipart, `{"a":1}`},
		{"form", "multipart/form-data; boundary=b", multipart, `{"file":{"contentType":"","filename":"x","size":5},"json":"{\"a\":1}"}`},
		{"form", "multipart/form-data; boundary=b", "--b\r\nrubbish", ""},
		{"form", "multipart/form-data; boundary=b", strings.TrimSuffix(multipart, "\r\n--b--\r\n"), ""}, // cut off after the part that is read
		{"form", "multipart/form-data", "no part", ""},
		{"any", "application/atom+xml", "<feed/>", `"\u003cfeed/\u003e"`},
		{"any", "", "", "null"},
		{"any", "", "\xff\x00", `{"base64":"/wA="}`},
	} {
		r := &gaff.Request{Header: http.Header{"Content-Type": {c.kind}}, Body: []byte(c.body)}
		env, err := parser(t, sender.Description{Scheme: verify.Scheme{Content: c.content}}, custom.Options{}).Parse(r, gaff.Verification{})
		got := string(env.Data)
		if env.Data == nil && err == nil {
			got = c.body
		}
		if (err != nil) != (c.want == "") || err == nil && got != c.want {
			t.Errorf("%q as %s: %s, %v; want %s", c.body, c.content, got, err, c.want)
		}
	}
}

func TestBodiesMustBeJSON(t *testing.T) {
	t.Parallel()
	for _, o := range []custom.Options{{Name: "shop", ID: "/id"}, {Name: "shop"}} {
		src, err := custom.Source(o)
		if err != nil {
			t.Fatal(err)
		}
		for body, want := range map[string]string{
			`{"id":"a"}`:        "",
			`{"id":"a"`:         "the body is not JSON",
			`{"id":"a","b":01}`: "the body is not JSON",
			`{"id":"a"} {}`:     "the body is not JSON: something follows it",
			``:                  "the body is not JSON",
		} {
			env, err := src.Parser.Parse(request(body), gaff.Verification{})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != want || want == "" && o.ID != "" && env.ID != "a" {
				t.Errorf("pointer %q, body %q: %q, id %q; want %q", o.ID, body, got, env.ID, want)
			}
		}
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	p := parser(t, sender.Description{Batch: &sender.Batch{
		Items: sender.Pointers{"/events"}, ID: sender.Pointers{"/id", "/n"}, Type: sender.Pointers{"/kind", "/action"},
	}}, custom.Options{})
	parse := func(body string) gaff.Envelope {
		env, err := p.Parse(&gaff.Request{Body: []byte(body)}, gaff.Verification{Type: "whole", ID: "delivery"})
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return env
	}
	got := parse(`{"events":[{"id":"a","n":1,"kind":"x","action":"made"},{"n":2},{"id":"b","kind":"y"}, 7]}`)
	want := gaff.Envelope{Split: true, Batch: []gaff.Envelope{
		{ID: "a.1", Type: "x.made", Data: json.RawMessage(`{"id":"a","n":1,"kind":"x","action":"made"}`)},
		{Type: "whole", Data: json.RawMessage(`{"n":2}`)}, // half an id would make two events one
		{ID: "b", Type: "y", Data: json.RawMessage(`{"id":"b","kind":"y"}`)},
		{Type: "whole", Data: json.RawMessage(`7`)},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if env := parse(`{"events":[]}`); !env.Split || len(env.Batch) != 0 {
		t.Errorf("an empty list: %+v", env)
	}
	for _, body := range []string{`{"events":{}}`, `{}`, `[]`, `{"events":null}`} {
		if env := parse(body); env.Split || env.ID != "delivery" {
			t.Errorf("%s is one event: %+v", body, env)
		}
	}
}

// Lists in lists: an event keeps the members around its item, and what has no inner list is
// an event itself.
func TestNestedBatches(t *testing.T) {
	t.Parallel()
	p := parser(t, sender.Description{Batch: &sender.Batch{
		Items: sender.Pointers{"/entry/*/changes", "/entry/*/a/b~1c", ""}, Type: sender.Pointers{"/field"},
	}}, custom.Options{})
	for body, want := range map[string][]string{
		`{"object":"page","entry":[{"id":1,"changes":[{"field":"feed"},{"field":"likes"}]},{"id":2,"a":{"x":0,"b/c":[3]}},{"id":4}, 5]}`: {
			`feed {"object":"page","entry":[{"id":1,"changes":[{"field":"feed"}]}]}`,
			`likes {"object":"page","entry":[{"id":1,"changes":[{"field":"likes"}]}]}`,
			`whole {"object":"page","entry":[{"id":2,"a":{"x":0,"b/c":[3]}}]}`,
			`whole {"object":"page","entry":[{"id":4}]}`,
			`whole {"object":"page","entry":[5]}`,
		},
		`[{"field":"z"}]`:                    {`z {"field":"z"}`},
		`{"entry":[]}`:                       {},
		`{"entry":[{"changes":[]}]}`:         {},
		`{"object":"page"}`:                  nil,
		`{"entry":{"changes":[{"id":"a"}]}}`: nil,
	} {
		env, err := p.Parse(&gaff.Request{Body: []byte(body)}, gaff.Verification{Type: "whole"})
		if err != nil || env.Split != (want != nil) {
			t.Errorf("%s: split %t, %v", body, env.Split, err)
			continue
		}
		got := []string{}
		for _, e := range env.Batch {
			got = append(got, e.Type+" "+string(e.Data))
		}
		if want != nil && !slices.Equal(got, want) {
			t.Errorf("%s:\n%q", body, got)
		}
	}
	// The members around them cannot be found by names alone.
	q := parser(t, sender.Description{Batch: &sender.Batch{Items: sender.Pointers{"/a/0/list/*/x"}}}, custom.Options{})
	if env, err := q.Parse(&gaff.Request{Body: []byte(`{"a":[{"list":[{"x":[1]}]}]}`)}, gaff.Verification{}); err != nil || env.Split {
		t.Errorf("a list on the way: split %t, %v", env.Split, err)
	}
	// Copies of the members around many items are bounded: then it is one event.
	body := `{"big":"` + strings.Repeat("a", 100_000) + `","entry":[` + strings.Repeat(`{"changes":[1,2,3,4]},`, 100) + `{}]}`
	if env, err := p.Parse(&gaff.Request{Body: []byte(body)}, gaff.Verification{}); err != nil || env.Split {
		t.Errorf("much around many: split %t, %v", env.Split, err)
	}
}

// Each preset with jobs reads its sender's words, outputs and errors.
func TestJobsOfPresets(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		preset, body string
		status       jobs.JobStatus
		id, job      string
		files        []string // "position url type"
		err, errType string
		nothing      bool
	}{
		{preset: "replicate", body: `{"id":"p1","status":"starting","output":null}`, status: jobs.JobProcessing, id: "p1"},
		{preset: "replicate", body: `{"id":"p1","status":"succeeded","input":{"image_url":"https://x.test/in.png"},"output":["https://replicate.delivery/a.png","https://replicate.delivery/b.webm"]}`,
			status: jobs.JobCompleted, id: "p1", files: []string{"it:/output/0 https://replicate.delivery/a.png generated-image", "it:/output/1 https://replicate.delivery/b.webm generated-video"}},
		{preset: "replicate", body: `{"id":"p1","status":"succeeded","output":"https://replicate.delivery/a.mp3"}`, status: jobs.JobCompleted, id: "p1",
			files: []string{"it:/output https://replicate.delivery/a.mp3 generated-audio"}},
		{preset: "replicate", body: `{"id":"p1","status":"failed","error":"out of memory"}`, status: jobs.JobFailed, id: "p1", err: "out of memory"},
		{preset: "replicate", body: `{"id":"p1","status":"canceled"}`, status: jobs.JobCancelled, id: "p1"},
		{preset: "replicate", body: `{"id":"p1","status":"news"}`, nothing: true},
		{preset: "openai", body: `{"id":"evt_1","type":"response.completed","data":{"id":"resp_1"}}`, status: jobs.JobCompleted, id: "resp_1"},
		{preset: "openai", body: `{"id":"evt_1","type":"response.failed","data":{"id":"resp_1"}}`, status: jobs.JobFailed, id: "resp_1", err: "response.failed"},
		{preset: "elevenlabs", body: `{"type":"speech_to_text_transcription","data":{"request_id":"r1","webhook_metadata":{"job_id":"job_9"}}}`, status: jobs.JobCompleted, id: "r1", job: "job_9"},
		{preset: "luma", body: `{"id":"l1","state":"completed","assets":{"video":"https://cdn.luma.test/v.mp4","image":null}}`, status: jobs.JobCompleted, id: "l1",
			files: []string{"it:/assets/video https://cdn.luma.test/v.mp4 generated-video"}},
		{preset: "luma", body: `{"id":"l1","state":"failed","failure_reason":"moderated"}`, status: jobs.JobFailed, id: "l1", err: "moderated"},
		{preset: "runway", body: `{"id":"t1","status":"SUCCEEDED","output":["https://r.test/a.mp4"]}`, status: jobs.JobCompleted, id: "t1", files: []string{"it:/output/0 https://r.test/a.mp4 generated-video"}},
		{preset: "bfl", body: `{"id":"b1","status":"Ready","result":{"sample":"https://bfl.test/s.jpeg","prompt":"a cat","seed":1}}`, status: jobs.JobCompleted, id: "b1", files: []string{"it:/result/sample https://bfl.test/s.jpeg generated-image"}},
		{preset: "bfl", body: `{"id":"b1","status":"Error","error":"content_policy_violation","message":"no"}`, status: jobs.JobFailed, id: "b1", err: "no", errType: "content_policy_violation"},
		{preset: "kling", body: `{"task_id":"k1","task_status":"succeed","task_info":{"external_task_id":"mine"},"task_result":{"videos":[{"id":"v","url":"https://k.test/v.mp4","duration":"5.1"}]}}`,
			status: jobs.JobCompleted, id: "k1", job: "mine", files: []string{"it:/task_result/videos/0 https://k.test/v.mp4 generated-video"}},
		{preset: "ideogram", body: `{"generation_id":"g1","data":[{"url":"https://i.test/a.png","seed":1},{"url":null}]}`, status: jobs.JobCompleted, id: "g1", files: []string{"it:/data/0 https://i.test/a.png generated-image"}},
		{preset: "heygen", body: `{"event_type":"avatar_video.success","event_data":{"video_id":"h1","url":"https://h.test/v.mp4","callback_id":"cb"}}`, status: jobs.JobCompleted, id: "h1", job: "cb",
			files: []string{"it:/event_data https://h.test/v.mp4 generated-video"}},
		{preset: "kie", body: `{"code":200,"data":{"callbackType":"complete","task_id":"s1","data":[{"audio_url":"https://s.test/a.mp3","image_url":"https://s.test/a.jpeg","title":"t"}]}}`, status: jobs.JobCompleted, id: "s1",
			files: []string{"it:/data/data/0/audio_url https://s.test/a.mp3 generated-audio", "it:/data/data/0/image_url https://s.test/a.jpeg generated-image"}},
		{preset: "shotstack", body: `{"type":"edit","id":"e1","status":"done","url":"https://s.test/r.mp4"}`, status: jobs.JobCompleted, id: "e1", files: []string{"it: https://s.test/r.mp4 generated-video"}},
		{preset: "shotstack", body: `{"type":"serve","action":"copy","id":"asset","render":"e1","status":"ready","url":"https://cdn.s.test/r.mp4"}`, status: jobs.JobCompleted, id: "e1", files: []string{"it: https://cdn.s.test/r.mp4 generated-video"}},
		{preset: "kie", body: `{"code":200,"msg":"ok","data":{"taskId":"v1","info":{"resultUrls":["https://k.test/v.mp4"],"resolution":"1080p"},"fallbackFlag":false}}`,
			status: jobs.JobCompleted, id: "v1", files: []string{"it:/data/info/resultUrls/0 https://k.test/v.mp4 generated-video"}},
		{preset: "kie", body: `{"code":200,"msg":"ok","data":{"task_id":"w1","video_id":"x","video_url":"https://k.test/w.mp4","image_url":"https://k.test/w.png"}}`, status: jobs.JobCompleted, id: "w1",
			files: []string{"it:/data/image_url https://k.test/w.png generated-image", "it:/data/video_url https://k.test/w.mp4 generated-video"}},
		{preset: "kie", body: `{"code":200,"msg":"ok","data":{"taskId":"f1","info":{"originImageUrl":"https://k.test/in.png","resultImageUrl":"https://k.test/out.png"}}}`,
			status: jobs.JobCompleted, id: "f1", files: []string{"it:/data/info/resultImageUrl https://k.test/out.png generated-image"}},
		{preset: "kie", body: `{"code":200,"msg":"ok","data":{"taskId":"m1","state":"success","param":"{\"callBackUrl\":\"https://me.test/\"}","resultJson":"{\"resultUrls\":[\"https://k.test/m.png\"]}"}}`,
			status: jobs.JobCompleted, id: "m1", files: []string{"it:/data/resultJson/resultUrls/0 https://k.test/m.png generated-image"}},
		{preset: "kie", body: `{"code":200,"msg":"ok","data":{"taskId":"m1","state":"generating","resultJson":""}}`, status: jobs.JobProcessing, id: "m1"},
		{preset: "kie", body: `{"code":200,"msg":"ok","data":{"taskId":"m1","state":"fail","failCode":"422","failMsg":"bad prompt"}}`, status: jobs.JobFailed, id: "m1", err: "bad prompt", errType: "422"},
		{preset: "kie", body: `{"code":501,"msg":"it failed","data":{"taskId":"v1"}}`, status: jobs.JobFailed, id: "v1", err: "it failed"},
		{preset: "kie", body: `{"code":200,"msg":"ok","data":{"task_id":"s2","vocal_separation_info":{"instrumental_url":"https://k.test/i.mp3","vocal_url":"https://k.test/v.mp3","origin_url":""}}}`, status: jobs.JobCompleted, id: "s2",
			files: []string{"it:/data/vocal_separation_info/instrumental_url https://k.test/i.mp3 generated-audio", "it:/data/vocal_separation_info/vocal_url https://k.test/v.mp3 generated-audio"}},
		{preset: "heygen", body: `{"event_type":"video_translate.fail","event_data":{"video_translate_id":"t1","message":"no speech","callback_id":"cb"}}`, status: jobs.JobFailed, id: "t1", job: "cb", err: "no speech"},
		{preset: "heygen", body: `{"event_type":"avatar_video_gif.success","event_data":{"video_id":"h1","gif_url":"https://h.test/a.gif"}}`, status: jobs.JobCompleted, id: "h1", files: []string{"it:/event_data/gif_url https://h.test/a.gif generated-image"}},
		{preset: "mux", body: `{"type":"robots.job.moderate.errored","object":{"type":"robots.job","id":"r1"},"data":{"errors":[{"type":"internal","message":"it broke"}]}}`, status: jobs.JobFailed, id: "r1", err: "it broke", errType: "internal"},
		{preset: "mux", body: `{"type":"video.upload.cancelled","object":{"type":"upload","id":"u1"},"data":{}}`, status: jobs.JobCancelled, id: "u1"},
		{preset: "wavespeed", body: `{"id":"w1","status":"completed","model":"m","outputs":["https://w.test/o.mp4"],"urls":{"get":"https://w.test/get"}}`, status: jobs.JobCompleted, id: "w1",
			files: []string{"it:/outputs/0 https://w.test/o.mp4 generated-video"}},
		{preset: "wavespeed", body: `{"id":"w1","status":"failed","outputs":[],"error":"bad input"}`, status: jobs.JobFailed, id: "w1", err: "bad input"},
		{preset: "gemini", body: `{"type":"video.generated","version":"v1","data":{"id":"op1","video_uri":"https://g.test/v.mp4"}}`, status: jobs.JobCompleted, id: "op1",
			files: []string{"it:/data/video_uri https://g.test/v.mp4 generated-video"}},
		{preset: "gemini", body: `{"type":"interaction.failed","version":"v1","data":{"id":"int1","error_code":"INTERNAL","error_message":"it broke"}}`, status: jobs.JobFailed, id: "int1", err: "it broke", errType: "INTERNAL"},
		{preset: "gemini-dynamic", body: `{"type":"batch.cancelled","data":{"id":"b1","user_metadata":{"job_id":"mine"}}}`, status: jobs.JobCancelled, id: "b1", job: "mine"},
		{preset: "baseten", body: `{"request_id":"r1","type":"async_request_completed","data":{"image":"https://b.test/i.png"},"errors":[]}`, status: jobs.JobCompleted, id: "r1",
			files: []string{"it:/data/image https://b.test/i.png generated-image"}},
		{preset: "baseten", body: `{"request_id":"r1","type":"async_request_completed","data":null,"errors":[{"code":"MODEL_PREDICT_ERROR","message":"it broke"}]}`, status: jobs.JobFailed, id: "r1", err: "it broke", errType: "MODEL_PREDICT_ERROR"},
		{preset: "pyannote", body: `{"jobId":"p1","status":"canceled"}`, status: jobs.JobCancelled, id: "p1"},
		{preset: "imagekit", body: `{"type":"video.transformation.ready","request":{"x_request_id":"x1"},"data":{"asset":{"url":"https://i.test/in.mp4"},"transformation":{"type":"video-transformation","output":{"url":"https://i.test/out.mp4"}}}}`,
			status: jobs.JobCompleted, id: "x1", files: []string{"it:/data/transformation/output https://i.test/out.mp4 generated-video"}},
		{preset: "recall", body: `{"event":"bot.fatal","data":{"data":{"code":"fatal","sub_code":"meeting_not_found"},"bot":{"id":"b1"}}}`, status: jobs.JobFailed, id: "b1", err: "meeting_not_found", errType: "fatal"},
		{preset: "higgsfield", body: `{"status":"completed","request_id":"h1","status_url":"https://h.test/s","cancel_url":"https://h.test/c","images":[{"url":"https://h.test/i.png"}]}`, status: jobs.JobCompleted, id: "h1",
			files: []string{"it:/images/0 https://h.test/i.png generated-image"}},
		{preset: "higgsfield", body: `{"status":"nsfw","request_id":"h1"}`, status: jobs.JobFailed, id: "h1", err: "nsfw"},
		{preset: "firecrawl", body: `{"success":true,"type":"crawl.completed","id":"c1","data":[]}`, status: jobs.JobCompleted, id: "c1"},
		{preset: "fastpix", body: `{"type":"video.media.ready","object":{"type":"media","id":"m1"},"data":{"id":"other"}}`, status: jobs.JobCompleted, id: "m1"},
		{preset: "twelvelabs", body: `{"id":"e1","type":"index.task.failed","data":{"id":"t1"}}`, status: jobs.JobFailed, id: "t1", err: "index.task.failed"},
		{preset: "tavus", body: `{"video_id":"v1","status":"ready","download_url":"https://t.test/v.mp4","hosted_url":"https://t.test/page","stream_url":"https://t.test/v.m3u8"}`, status: jobs.JobCompleted, id: "v1",
			files: []string{"it:/download_url https://t.test/v.mp4 generated-video"}},
		{preset: "creatomate", body: `{"id":"c1","status":"succeeded","url":"https://c.test/out.mp4","snapshot_url":"https://c.test/s.jpg","modifications":{"Video":"https://in.test/in.mp4"}}`, status: jobs.JobCompleted, id: "c1",
			files: []string{"it:/url https://c.test/out.mp4 generated-video"}},
		{preset: "creatomate", body: `{"id":"c1","status":"waiting"}`, status: jobs.JobQueued, id: "c1"},
		{preset: "transloadit", body: `{"ok":"ASSEMBLY_COMPLETED","assembly_id":"a1","uploads":[{"ssl_url":"https://t.test/in.mp4"}],"results":{"encode":[{"ssl_url":"https://t.test/out.mp4"}]}}`, status: jobs.JobCompleted, id: "a1",
			files: []string{"it:/results/encode/0/ssl_url https://t.test/out.mp4 generated-video"}},
		{preset: "transloadit", body: `{"error":"ASSEMBLY_CRASHED","message":"it broke","assembly_id":"a1"}`, status: jobs.JobFailed, id: "a1", err: "it broke", errType: "ASSEMBLY_CRASHED"},
		{preset: "transloadit", body: `{"ok":"ASSEMBLY_CANCELED","assembly_id":"a1"}`, status: jobs.JobCancelled, id: "a1"},
		// The status in the body says nothing where its code speaks against it.
		{preset: "kie", body: `{"code":400,"msg":"refused","data":{"callbackType":"complete","task_id":"s1","data":null}}`, status: jobs.JobFailed, id: "s1", err: "refused"},
		{preset: "minimax", body: `{"task_id":"m1","status":"success","file_id":"f","base_resp":{"status_code":1026,"status_msg":"sensitive"}}`, status: jobs.JobFailed, id: "m1", err: "sensitive"},
		{preset: "minimax", body: `{"task_id":"m1","status":"success","file_id":"f","base_resp":{"status_code":0,"status_msg":"success"}}`, status: jobs.JobCompleted, id: "m1"},
		// MiniMax documents the words of its callbacks in lower case and sends them as its query API has them.
		{preset: "minimax", body: `{"task_id":"m1","status":"Fail","base_resp":{"status_code":0,"status_msg":"success"}}`, status: jobs.JobFailed, id: "m1", err: "success"},
		{preset: "minimax", body: `{"task_id":"m1","status":"Preparing","base_resp":{"status_code":0}}`, status: jobs.JobQueued, id: "m1"},
		{preset: "minimax", body: `{"task_id":"m1","status":"Success","video_url":"https://m.test/v.mp4","base_resp":{"status_code":0}}`, status: jobs.JobCompleted, id: "m1",
			files: []string{"it:/video_url https://m.test/v.mp4 generated-video"}},
		{preset: "tavus", body: `{"video_id":"v1","status":"error","download_url":null,"error_details":null,"status_details":"try again"}`, status: jobs.JobFailed, id: "v1", err: "try again"},
		{preset: "deepgram", body: `{"metadata":{"request_id":"d1"},"results":{"channels":[]}}`, status: jobs.JobCompleted, id: "d1"},
		{preset: "runpod", body: `{"id":"r1","status":"TIMED_OUT"}`, status: jobs.JobFailed, id: "r1", err: "failed without a reason"},
		{preset: "mux", body: `{"type":"video.asset.ready","object":{"type":"asset","id":"a1"},"data":{"passthrough":"job_1"}}`, status: jobs.JobCompleted, id: "a1", job: "job_1"},
	} {
		scheme, _ := sender.Preset(c.preset)
		in, err := custom.NewInterpreter("it", *scheme.Jobs)
		if err != nil {
			t.Fatalf("%s: %v", c.preset, err)
		}
		u, err := in.Interpret(&gaff.Event{Data: []byte(c.body), ReceivedAt: at})
		if c.nothing {
			if err != jobs.ErrNoChange {
				t.Errorf("%s %s: %v", c.preset, c.body, err)
			}
			continue
		}
		var files []string
		for _, f := range u.Files {
			files = append(files, f.Position+" "+f.URL+" "+f.MediaType)
		}
		if err != nil || u.Status != c.status || u.RequestID != c.id || u.JobID != c.job || u.Error != c.err || u.ErrorType != c.errType || u.Provider != "it" || u.Create {
			t.Errorf("%s %s: %+v, %v", c.preset, c.body, u, err)
		}
		if diff := cmp.Diff(c.files, files); diff != "" {
			t.Errorf("%s %s: %s", c.preset, c.body, diff)
		}
		if u.Status == jobs.JobCompleted && !json.Valid(u.Result) {
			t.Errorf("%s: result %q", c.preset, u.Result)
		}
	}
	if _, err := custom.NewInterpreter("it", sender.Jobs{ID: sender.Pointers{"/a"}, Words: map[string]string{"a": "b"}}); err == nil || !strings.Contains(err.Error(), "jobs.words.a") {
		t.Errorf("a word that means nothing: %v", err)
	}
}

func TestInterpreterReadsTheFirstOfManyFiles(t *testing.T) {
	t.Parallel()
	body := `{"id":"a","status":"done","output_urls":["https://f/a.png"` + strings.Repeat(`,"https://f/a.png"`, 19_999) + `]}`
	for name, output := range map[string]sender.Pointers{"whole body": nil, "output": {"/output_urls"}} {
		in, err := custom.NewInterpreter("it", sender.Jobs{
			ID: sender.Pointers{"/id"}, Status: sender.Pointers{"/status"}, Words: map[string]string{"done": "completed"}, Output: output,
		})
		if err != nil {
			t.Fatal(err)
		}
		u, err := in.Interpret(&gaff.Event{Data: []byte(body)})
		if err != nil || u.Status != jobs.JobCompleted || len(u.Files) != 1000 || u.FilesTotal != 20_000 {
			t.Errorf("%s: %s with %d of %d files, %v; want completed with 1,000 of 20,000", name, u.Status, len(u.Files), u.FilesTotal, err)
		}
	}
}

func TestBatchesDoNotCopyLargeItems(t *testing.T) {
	item := `{"id":"a","x":"` + strings.Repeat("x", 2<<20) + `"}`
	for name, c := range map[string]struct {
		items  sender.Pointers
		body   string
		copies uint64 // of the whole body; the events of a list in a list have their own
	}{
		"a list":           {sender.Pointers{"/events"}, `{"events":[` + item + `,` + item + `]}`, 1},
		"a list in a list": {sender.Pointers{"/entry/*/changes"}, `{"entry":[{"changes":[` + item + `]},{"changes":[` + item + `]}]}`, 3},
	} {
		p := parser(t, sender.Description{Batch: &sender.Batch{Items: c.items, ID: sender.Pointers{"/id"}}}, custom.Options{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		env, err := p.Parse(&gaff.Request{Body: []byte(c.body)}, gaff.Verification{})
		runtime.ReadMemStats(&after)
		allocated, body := after.TotalAlloc-before.TotalAlloc, uint64(len(c.body))
		if err != nil || len(env.Batch) != 2 || allocated > c.copies*body*underRace+body/2 {
			t.Errorf("%s: %d events, %d MiB allocated for a body of %d MiB, %v; want 2 events, at most %d copies", name, len(env.Batch), allocated>>20, body>>20, err, c.copies)
		}
	}
}
