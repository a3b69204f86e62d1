package jobs_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"gaff"
	"gaff/internal/fuzzseed"
	"gaff/jobs"
)

func TestReadDataLink(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{
		"data:image/png;base64,AQID":                 "image/png|\x01\x02\x03|",
		"DATA:image/png;base64,AQI=":                 "image/png|\x01\x02|",
		"data:image/png;base64,AQI%3D":               "image/png|\x01\x02|",
		"data:text/plain,a%20b,c":                    "text/plain|a b,c|",
		"data:,":                                     "||",
		"data:image/png;base64":                      "||the data: link has no comma",
		"data:image/png;base64,!":                    "||the data: link is not base64",
		"data:text/plain,%zz%41":                     "text/plain|%zzA|",
		"data:,x":                                    "|x|",
		"data:;base64,AQID":                          "|\x01\x02\x03|",
		"data:image/png;base64,A QI\tD":              "image/png|\x01\x02\x03|",
		"data:image/png;base64,AQID#page=1":          "image/png|\x01\x02\x03|",
		"data:image/png;base64,_-8":                  "image/png|\xff\xef|",
		"data:image/png;base64,/+8=":                 "image/png|\xff\xef|",
		"data: image/png ; BASE64 ,AQID":             "image/png|\x01\x02\x03|",
		"data:image/png;charset=x;base64,%41%51%49D": "image/png;charset=x|\x01\x02\x03|",
		"data:image/svg+xml;utf8,<svg a='%23'/>":     "image/svg+xml;utf8|<svg a='#'/>|",
		"data:image/png;base64;name=x,AQID":          "image/png;base64;name=x|AQID|",
		"https://cdn.example.com/":                   "||not a data: link",
		"data:image/png;base64,AQID\nBAUG":           "image/png|\x01\x02\x03\x04\x05\x06|",
		"data:text/plain;charset=utf-8,\xff":         "text/plain;charset=utf-8|\xff|",
	} {
		contentType, data, err := jobs.ReadDataLink(link)
		fault := ""
		if err != nil {
			fault, contentType = err.Error(), ""
		}
		if got := contentType + "|" + string(data) + "|" + fault; got != want {
			t.Errorf("%q: %q, want %q", link, got, want)
		}
	}
}

// A long data: link stays in the job's result; its row and all lists have a short one.
func TestLongDataLinksAreInTheResultOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		data := strings.Repeat("\x00\xffpicture", 50_000)
		long := "data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte(data))
		const broken, small = "data:image/png;base64,", "data:image/png;base64,AQID"
		result, err := json.Marshal(map[string]any{"images": []any{
			map[string]any{"url": long}, map[string]any{"url": small}, map[string]any{"url": broken + strings.Repeat("!", 5000)},
			map[string]any{"url": "https://cdn.test/" + strings.Repeat("a", 5000)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.say(t, said{Job: "job_1", Request: "r", Create: true, Status: "completed", Result: result})
		page, err := s.st.Media(context.Background(), jobs.MediaFilter{})
		if err != nil || len(page.Items) != 4 {
			t.Fatalf("%d files, %v", len(page.Items), err)
		}
		j, err := s.st.Job(context.Background(), "job_1")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Items {
			switch whole, ok := jobs.WholeLink(j.Result, m.URL); m.Position {
			case "studio:/images/0":
				if want := fmt.Sprintf("data:image/png;sha256=%x", sha256.Sum256([]byte(data))); m.URL != want || !m.Shortened() || !ok || whole != long {
					t.Errorf("the long one: %s, in full %t, %d bytes of %d", m.URL, ok, len(whole), len(long))
				}
			case "studio:/images/1":
				if m.URL != small || m.Shortened() || ok {
					t.Errorf("the small one: %s", m.URL)
				}
			case "studio:/images/2":
				if len(m.URL) > 200 || !m.Shortened() || !ok || !strings.HasPrefix(whole, broken+"!!!") {
					t.Errorf("the broken one: %.200s", m.URL)
				}
			default:
				if len(m.URL) < 5000 || m.Shortened() {
					t.Errorf("another link: %.200s", m.URL)
				}
			}
		}
		jobs, err := s.st.Jobs(context.Background(), jobs.JobFilter{Cursor: gaff.Cursor{Limit: 5}})
		if err != nil || jobs.Items[0].Result != nil || jobs.Items[0].ResultSize != int64(len(result)) || j.ResultSize != int64(len(result)) {
			t.Errorf("the list has %d bytes of %d, %v", len(jobs.Items[0].Result), jobs.Items[0].ResultSize, err)
		}
	})
}

// A data: link holds at most the bytes of its text, and its short form is known as one.
func FuzzReadDataLink(f *testing.F) {
	for _, link := range []string{"data:image/png;base64,AQID", "DATA: text/plain ; BASE64 ,_-8%3D", "data:,%zz%41"} {
		f.Add(link)
		for _, other := range fuzzseed.Vary(link) {
			f.Add(other)
		}
	}
	f.Fuzz(func(t *testing.T, link string) {
		if _, data, err := jobs.ReadDataLink(link); err == nil && len(data) > len(link) {
			t.Errorf("%d bytes of %d", len(data), len(link))
		}
	})
}
