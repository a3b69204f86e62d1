package jobs_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/fuzzseed"
	"gaff/jobs"
)

func TestFilesOfResults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		result string
		// want holds position, media type and link of each.
		want []string
	}{
		"flux":           {`{"images":[{"url":"https://f/a.png","width":1},{"url":"https://f/b"}],"seed":1}`, []string{"/images/0 generated-image https://f/a.png", "/images/1 generated-image https://f/b"}},
		"veo":            {`{"video":{"url":"https://f/v","content_type":"video/mp4","file_name":"output.mp4","file_size":123}}`, []string{"/video generated-video https://f/v"}},
		"speech":         {`{"audio":{"url":"https://f/s","content_type":"audio/mpeg"},"duration_ms":4200}`, []string{"/audio generated-audio https://f/s"}},
		"demucs":         {`{"vocals":{"url":"https://f/1"},"drums":{"url":"https://f/2"}}`, []string{"/drums generated-audio https://f/2", "/vocals generated-audio https://f/1"}},
		"mesh":           {`{"model_mesh":{"url":"https://f/m","content_type":"application/octet-stream","file_name":"x.glb"}}`, []string{"/model_mesh generated-model https://f/m"}},
		"lora":           {`{"diffusers_lora_file":{"url":"https://f/l.safetensors"},"config_file":{"url":"https://f/c.json"}}`, []string{"/config_file generated-file https://f/c.json", "/diffusers_lora_file generated-file https://f/l.safetensors"}},
		"map of links":   {`{"model_urls":{"glb":"https://f/m.glb","fbx":"https://f/m.fbx"}}`, []string{"/model_urls/fbx generated-model https://f/m.fbx", "/model_urls/glb generated-model https://f/m.glb"}},
		"list of links":  {`{"texture_urls":["https://f/t.png"]}`, []string{"/texture_urls/0 generated-image https://f/t.png"}},
		"a link by name": {`{"video_url":"https://f/v.mp4"}`, []string{"/video_url generated-video https://f/v.mp4"}},
		"data":           {`{"images":[{"url":"data:image/png;base64,AAAA"}]}`, []string{"/images/0 generated-image data:image/png;base64,AAAA"}},
		"beside a url": {`{"video":{"url":"https://f/v.mp4","thumbnail":{"url":"https://f/t.png"},"preview_url":"https://f/p.gif","mask_urls":["https://f/m.png"],"again_url":"https://f/v.mp4"}}`,
			[]string{"/video generated-video https://f/v.mp4", "/video/mask_urls/0 generated-image https://f/m.png", "/video/preview_url generated-image https://f/p.gif", "/video/thumbnail generated-image https://f/t.png"}},
		"shotstack": {`{"url":"https://f/v.mp4","poster":"https://f/p","thumbnail":"https://f/t","data":{"poster":"https://f/no"},"title":"https://f/no"}`,
			[]string{" generated-video https://f/v.mp4", "/poster generated-image https://f/p", "/thumbnail generated-image https://f/t"}},
		"tavus":  {`{"download_url":"https://f/d.mp4","hosted_url":"https://f/page","stream_url":"https://f/x.m3u8"}`, []string{"/download_url generated-video https://f/d.mp4"}},
		"heygen": {`{"video_url":"https://f/v.mp4","video_page_url":"https://f/p","video_share_page_url":"https://f/s","status_url":"https://f/q"}`, []string{"/video_url generated-video https://f/v.mp4"}},
		"camel case": {`{"imageUrl":"https://f/a.png","resultUrls":["https://f/b.mp4"],"audioURL":"https://f/c.mp3","sharePageUrl":"https://f/p"}`,
			[]string{"/audioURL generated-audio https://f/c.mp3", "/imageUrl generated-image https://f/a.png", "/resultUrls/0 generated-video https://f/b.mp4"}},
		"streams":           {`{"playback":{"url":"https://f/x.M3U8?t=1","poster_url":"https://f/p.png"},"video_url":"https://f/x.mpd"}`, []string{"/playback/poster_url generated-image https://f/p.png"}},
		"spaces around":     {`{"image":{"url":" https://f/a.png\n"}}`, []string{"/image generated-image https://f/a.png"}},
		"data, lax":         {`{"images":[{"url":"DATA:Image/PNG ; base64, AAAA"}]}`, []string{"/images/0 generated-image DATA:Image/PNG ; base64, AAAA"}},
		"names to escape":   {`{"a/b~c":{"url":"https://f/a.png"}}`, []string{"/a~1b~0c generated-image https://f/a.png"}},
		"whisper":           {`{"text":"see https://f/a.png","chunks":[{"timestamp":[0,2.1],"text":"x"}]}`, nil},
		"no link":           {`{"image":{"url":"not a link"},"x_url":"ftp://f/a","y_url":"https://"}`, nil},
		"no url but a null": {`{"image":{"url":null},"video":null}`, nil},
		"no JSON":           {`{"image":`, nil},
		"nothing":           {``, nil},
		"a text":            {`"https://f/a.png"`, nil},
		"too deep":          {strings.Repeat(`{"a":`, 100) + `{"url":"https://f/a.png"}` + strings.Repeat(`}`, 100), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, _ := jobs.Files("fal", json.RawMessage(c.result), time.Now())
			var got []string
			for _, f := range files {
				got = append(got, strings.TrimPrefix(f.Position, "fal:")+" "+f.MediaType+" "+f.URL)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilesKeepNumbersAndSizes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e8, time.UTC)
	files, _ := jobs.Files("fal", json.RawMessage(
		`{"video":{"url":"https://f/v","content_type":"video/mp4","file_size":2087231,"width":1024.50,"seed":98765432109876543210,"fps":null,"tags":["x"],"more":{"a":1},"note":"a \"b\""}}`), at)
	if len(files) != 1 {
		t.Fatalf("%v", files)
	}
	f := files[0]
	want := `{"generatedAt":"2026-01-31T12:00:00.5Z","note":"a \"b\"","seed":98765432109876543210,"width":1024.50}`
	if f.Size != 2087231 || f.ContentType != "video/mp4" || string(f.Metadata) != want {
		t.Errorf("size %d, type %s, metadata %s, want %s", f.Size, f.ContentType, f.Metadata, want)
	}
	for _, size := range []string{`-1`, `1e30`, `"12"`, `"x"`, `1.5`, `null`} {
		files, _ := jobs.Files("fal", json.RawMessage(`{"a":{"url":"https://f/v","file_size":`+size+`}}`), at)
		if len(files) != 1 || files[0].Size != 0 && size != `"12"` {
			t.Errorf("file_size %s: %v", size, files)
		}
	}
}

func TestFilesReturnTheFirstThousandAndCountAll(t *testing.T) {
	t.Parallel()
	for name, item := range map[string]string{"objects": `{"url":"https://f/a"},`, "links": `"https://f/a",`} {
		files, total := jobs.Files("fal", json.RawMessage(`{"image_urls":[`+strings.Repeat(item, 1000)+strings.TrimSuffix(item, ",")+`]}`), time.Now())
		if len(files) != 1000 || total != 1001 || files[999].Position != "fal:/image_urls/999" {
			t.Errorf("%s: %d of %d files, want 1,000 of 1,001", name, len(files), total)
		}
	}
}

func TestMetadataOfFilesIsBounded(t *testing.T) {
	t.Parallel()
	var fields []string
	for i := range 500 {
		fields = append(fields, fmt.Sprintf(`"f%d":%d`, i, i))
	}
	files, _ := jobs.Files("fal", json.RawMessage(`{"url":"https://f/a",`+strings.Join(fields, ",")+`,"long":"`+strings.Repeat("x", 5000)+`"}`), time.Now())
	if len(files) != 1 || len(files[0].Metadata) > 2000 {
		t.Errorf("%d bytes of metadata", len(files[0].Metadata))
	}
}

func FuzzFiles(f *testing.F) {
	for _, seed := range []string{
		`{"images":[{"url":"https://f/a.png","width":1,"file_size":1e400}],"seed":18446744073709551616}`,
		`{"model_urls":{"glb":"https://f/m.glb"},"texture_urls":["data:image/png;base64,AA"]}`,
		`[[[[{"url":"HTTPS://x"}]]]]`, `{"url":"\u0000https://x"}`, `{"a_url":"https://x","a_url":"https://y"}`, `nul`, ``,
	} {
		f.Add([]byte(seed))
		for _, other := range fuzzseed.Vary(seed) {
			f.Add([]byte(other))
		}
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		files, _ := jobs.Files("fal", result, time.Unix(0, 0))
		seen := map[string]bool{}
		for _, file := range files {
			if file.URL == "" || file.MediaType == "" || !json.Valid(file.Metadata) || file.Size < 0 {
				t.Errorf("%+v", file)
			}
			if seen[file.Position] {
				t.Errorf("two files at %s", file.Position)
			}
			seen[file.Position] = true
		}
	})
}

func TestFilesBuildNothingOfALongListOfNumbers(t *testing.T) {
	const numbers = 200_000
	result := json.RawMessage(`["a",[` + strings.Repeat("1,", numbers) + `1],` + strings.Repeat("1,", numbers) + `1]`)
	if n := testing.AllocsPerRun(1, func() {
		jobs.Files("p", result, time.Now())
	}); n > 1000 {
		t.Errorf("%.0f allocations for %d numbers, want at most 1,000", n, 2*numbers)
	}
}

func TestFilesBuildNothingOfTheMembersWithoutALink(t *testing.T) {
	const members = 100_000
	result := json.RawMessage(`{"a":{"url":"https://f/a.png"},"b":{` + strings.Repeat(`"n":1,`, members) + `"n":"x"},` + strings.Repeat(`"m":[1],`, members) + `"m":1}`)
	if n := testing.AllocsPerRun(1, func() {
		if files, _ := jobs.Files("p", result, time.Now()); len(files) != 1 {
			t.Errorf("%d files, want 1", len(files))
		}
	}); n > 1000 {
		t.Errorf("%.0f allocations for %d members, want at most 1,000", n, 2*members)
	}
}

func TestFilesCopyALongLinkOnce(t *testing.T) {
	result := json.RawMessage(`{"images":[{"url":"data:image/png;base64,` + strings.Repeat("A", 4<<20) + `"}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	files, _ := jobs.Files("p", result, time.Now())
	runtime.ReadMemStats(&after)
	if copied := (after.TotalAlloc - before.TotalAlloc) >> 20; len(files) != 1 || copied > 9 {
		t.Errorf("%d files, %d MiB allocated for a link of 4 MiB; want 1, at most 9", len(files), copied)
	}
}

func TestFilesWriteMetadataAsJSONWritesAMap(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 3, 1, 12, 0, 0, 5000, time.UTC)
	for _, object := range []string{
		`{"url":"https://a.example/1.png"}`,
		`{"url":"https://a.example/1.png","width":1024.50,"ok":true,"z":"last","a":"first"}`,
		`{"url":"https://a.example/1.png","generatedAt":"yesterday","<b>&":"<i>&\u2028 ","\u0061\"\\":"\u0001é","ü":-1e3}`,
		"{\"url\":\"https://a.example/1.png\",\"\\u0007\x7f\u2028\":\"\u2029\"}",
	} {
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(object), &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "url")
		members["generatedAt"] = json.RawMessage(`"` + at.Format(time.RFC3339Nano) + `"`)
		want, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		files, _ := jobs.Files("acme", json.RawMessage(object), at)
		if len(files) != 1 || string(files[0].Metadata) != string(want) {
			t.Errorf("%s: %+v, want the metadata %s", object, files, want)
		}
	}
}
