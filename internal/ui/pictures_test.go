package ui_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/sqlstore"
	"gaff/jobs"
	"gaff/store/sqlite"
)

// pictures is where screenshots are written: make screenshots does it.
var pictures = flag.String("pictures", "", "folder for screenshots of every page, light, dark, on a phone and wide; empty: none are made")

func emulateScheme(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	})
}

// furnish fills the world with what a small studio would have.
func (w *world) furnish(t *testing.T) (failed, completed, conflict string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, message := range []string{"Is this the one?", "Shall it be published?"} {
		text := "name: written\ndescription: A picture's approval\nsteps:\n  - name: look\n    approve: {message: " + message + "}\n  - name: publish\n    needs: [look]\n    emit: {type: picture.approved}\n"
		if _, err := w.definitions.Create(t.Context(), text, "Anna"); err == nil {
			continue
		}
		if _, err := w.definitions.Update(t.Context(), "written", text, 0, "Anna"); err != nil {
			t.Fatal(err)
		}
	}
	completedBody := func(i int, kind, project string) string {
		result := map[string]any{"images": []any{map[string]any{"url": fmt.Sprintf("https://v3.fal.media/files/otter/%d.jpeg", i), "width": 1024, "height": 768, "content_type": "image/jpeg"}}}
		if kind == "video" {
			result = map[string]any{"video": map[string]any{"url": fmt.Sprintf("https://v3.fal.media/files/otter/%d.mp4", i), "duration": 4 + i%5, "content_type": "video/mp4"}}
		}
		text, _ := json.Marshal(map[string]any{
			"request_id": fmt.Sprintf("%08x-7c1e-4f0a-9d57-%012x", rng.Uint32(), rng.Uint64()>>16), "status": "completed", "result": result,
			"metadata": map[string]any{"job_id": fmt.Sprintf("shot-%02d-%s", i, kind), "project_id": project, "user_id": "anna", "generation_type": kind},
		})
		return string(text)
	}
	projects := []string{"harbour-film", "spring-campaign", "title-sequence"}
	for i := range 14 {
		kind := "image"
		if i%4 == 3 {
			kind = "video"
		}
		completed = w.sent(t, "fal", completedBody(i, kind, projects[i%len(projects)]))
	}
	w.sent(t, "fal", `{"request_id":"5a0d5ad2-1c3f-4d1b-9a1e-0d6f4c3b2a10","status":"failed","result":{"error":"The content could not be processed because it contained material flagged by a content checker."},"metadata":{"job_id":"shot-31-image","project_id":"harbour-film","user_id":"anna","generation_type":"image"}}`)
	w.sent(t, "fal", `{"request_id":"9b1c6a44-2a5e-4f7e-8d0a-7b8f5e4d3c21","status":"in_progress","metadata":{"job_id":"shot-32-video","project_id":"harbour-film","user_id":"anna","generation_type":"video"}}`)
	w.sent(t, "lastframe", `{"job_id":"lf-2208","status":"completed","service":"video-stitch","result":{"output_url":"https://cdn.lastframe.example/harbour-final.mp4","duration":94},"metadata":{"project_id":"harbour-film","user_id":"anna","original_job_id":"harbour-final"}}`)
	conflict = w.sent(t, "fal", `{"request_id":"twice","status":"completed","result":{"images":[{"url":"https://v3.fal.media/files/otter/first.jpeg","width":1024,"height":1024}]},"metadata":{"job_id":"shot-40-image","project_id":"title-sequence","user_id":"ben","generation_type":"image"}}`)
	w.sent(t, "fal", `{"request_id":"twice","status":"completed","result":{"images":[{"url":"https://v3.fal.media/files/otter/second.jpeg","width":1024,"height":768}]},"metadata":{"job_id":"shot-40-image","project_id":"title-sequence","user_id":"ben","generation_type":"image"}}`)
	for i := range 3 {
		failed = w.sent(t, "custom", fmt.Sprintf(`{"type":"flaky","id":"album-%d","album":"harbour","cover":{"url":"https://example.com/%d.jpg"},"tracks":[1,2,3],"live":false}`, 118+i, i))
	}
	res, err := http.Post(w.url+gaff.PathPrefix+"fal", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	w.keepFiles()
	if _, _, err := w.guard.CreateKey(t.Context(), access.Identity{Name: "Anna"}, access.KeyParams{Name: "render-worker", Role: access.Operator, ExpiresAt: time.Now().Add(80 * 24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	return failed, completed, conflict
}

// remember makes up 30 days of counts: days and nights, a bad hour, and a source that fell
// silent.
func remember(t *testing.T, st *sqlstore.Store, rng *rand.Rand) {
	t.Helper()
	now := time.Now().Unix() / 60
	err := st.Between(func(conn *sql.Conn) error {
		ctx := context.Background()
		if _, err := conn.ExecContext(ctx, "begin immediate"); err != nil {
			return err
		}
		for back := int64(30 * 24 * 60); back > 0; back-- {
			minute := now - back
			day := 1 + math.Sin(float64(minute%1440)/1440*2*math.Pi-2)
			for source, rate := range map[string]float64{"fal": 4, "lastframe": 1.2, "custom": .5} {
				if source == "lastframe" && back < 26*60 {
					continue
				}
				n := int64(rng.ExpFloat64() * rate * day)
				if n == 0 {
					continue
				}
				if _, err := conn.ExecContext(ctx, "insert into tally (source, minute, received, success) values ($1, $2, $3, $3) on conflict do nothing", source, minute, n); err != nil {
					return err
				}
				bad := 0.004
				if back > 300 && back < 340 {
					bad = .3
				}
				for _, span := range []int64{1, 10, 60} {
					if span == 1 && back > 480 || span == 10 && back > 3*1440 {
						continue
					}
					for range min(n, 3) {
						for kind, spread := range map[int]int{0: 5, 1: 9} {
							bucket := 4 + kind*6 + int(rng.ExpFloat64()*float64(spread)/2.2)
							failed := kind == 1 && rng.Float64() < bad
							k := kind
							if failed {
								k = 2
							}
							if _, err := conn.ExecContext(ctx, "insert into latency (span, at, source, kind, bucket, n) values ($1, $2, $3, $4, $5, 1) on conflict do update set n = n + 1",
								span, minute-minute%span, source, k, min(bucket, 30)); err != nil {
								return err
							}
						}
					}
				}
			}
		}
		_, err := conn.ExecContext(ctx, "commit")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.RollUp(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
}

// keepFiles gives every media row a file that this host keeps.
func (w *world) keepFiles() {
	w.store.LinkMedia(func(m *jobs.Media) jobs.MediaLinks {
		if m.MediaType == jobs.MediaVideo {
			return jobs.MediaLinks{StoredURL: "/files/" + m.ID + ".webm"}
		}
		return jobs.MediaLinks{StoredURL: "/files/" + m.ID + ".png"}
	})
}

// studio is a gaff dev with a history, work of a small studio, and faults among it: jobs of the
// sample project and a few more, a webhook that is refused, one that came twice with two
// bodies, and one that an application's receiver does not take.
func studio(t *testing.T) (d *dev, pages map[string]string) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "gaff-dev"), 0o700); err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(t.Context(), filepath.Join(dir, "gaff-dev", "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	remember(t, st, rand.New(rand.NewPCG(1, 2)))
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	d = startDev(t, dir)
	for i, prompt := range []string{"The harbour before sunrise", "Nets are mended", "A gull on the mast", "The boats leave"} {
		d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": prompt, "image_size": "landscape_16_9", "seed": i})
	}
	film := d.job(t, "fal-ai/kling-video/v2.5-turbo/pro/text-to-video", map[string]any{"prompt": "The boats leave, the camera rises"})
	d.job(t, "fal-ai/flux/dev", map[string]any{"prompt": "A forged webhook", "fault": "wrong-key"})
	d.gaff(t, "destinations", "add", "album", album(t), "--events", "custom:*",
		"--file", write(t, dir, `{"maxAttempts":3,"firstWait":"300ms","longestWait":"1s","breakAfter":100}`))
	for i := range 3 {
		if text, err := d.command("send", "custom", "--data", write(t, dir, fmt.Sprintf(`{"id":"album-%d","type":"album.updated","album":"harbour","cover":{"url":"https://example.com/%d.jpg"},"tracks":[1,2,3],"live":false}`, 118+i, i))); err != nil {
			t.Fatal(text)
		}
	}
	for _, title := range []string{"Harbour", "The Harbour"} {
		d.gaff(t, "send", "lastframe", "--data", write(t, dir, `{"job_id":"lf-2208","status":"completed","service":"video-stitch","result":{"output_url":"https://cdn.lastframe.example/harbour.mp4","duration":94,"title":"`+title+`"},"metadata":{"project_id":"harbour-film","user_id":"anna"}}`))
	}
	failed := d.until(t, "evt_", 3, "events", "list", "--status", "error")
	d.until(t, " stored ", 12, "media", "list")
	d.until(t, "review: ", 1, "runs", "list")
	id := func(prefix, text string) string { return regexp.MustCompile(prefix + `_\w+`).FindString(text) }
	run := id("run", d.gaff(t, "runs", "list"))
	d.gaff(t, "replay", "start", "--destination", "album", "--source", "custom", "--since", "1h")
	replay := id("rpl", d.gaff(t, "replay", "list"))
	files := regexp.MustCompile(`(?m)^med_\w+`).FindAllString(d.gaff(t, "media", "list", "--type", "generated-image"), 2) // a URL has the id, too
	event := id("evt", failed)
	conflict := id("evt", d.gaff(t, "events", "list", "--source", "lastframe", "--q", "lf-2208"))
	pages = map[string]string{
		"overview": "/", "issues": "/issues", "search": "/search?q=storm", "overview-1h": "/?range=1h", "overview-30d": "/?range=30d", "events": "/events", "event-failed": "/events/" + event,
		"event": "/events/" + id("evt", d.gaff(t, "events", "list", "--source", "fal")), "diff": "/events/" + conflict + "/diff/1",
		"jobs": "/jobs", "job": "/jobs/" + film, "media": "/media", "film": "/media/" + id("med", d.gaff(t, "media", "list")),
		"projects": "/projects", "project": "/projects/harbour-film", "sources": "/sources", "source": "/sources/fal", "keys": "/keys",
		"destinations": "/destinations", "destination": "/destinations/album", "audit": "/audit", "settings": "/settings", "health": "/health",
		"rejections": "/rejections", "rejection": "/rejections/" + id("rej", d.gaff(t, "rejections", "list")),
		"bulk": "/bulk?action=retry", "empty": "/jobs?status=cancelled", "workflows": "/workflows", "workflow": "/workflows/storyboard",
		"runs": "/runs", "run": "/runs/" + run, "step": "/runs/" + run + "/steps/images",
		"new-workflow": "/new-workflow", "deliveries": "/deliveries", "deliveries-dead": "/deliveries?state=dead", "costs": "/costs", "replays": "/replays", "replay": "/replays/" + replay,
		"issue": "/issues/" + id("iss", d.gaff(t, "issues", "list")), "again": "/jobs/" + film + "/again", "media-compare": "/media/compare?id=" + strings.Join(files, "&id="),
		"media-links": "/media/links?id=" + strings.Join(files, "&id="), "new-source": "/new-source", "new-source-stripe": "/new-source?preset=stripe", "new-destination": "/new-destination",
		"destination-edit": "/destinations/album/edit", "erase": "/erase?kind=event&id=" + event, "search-commands": "/search?q=pause", "not-found": "/nowhere",
	}
	maps.Copy(pages, published(t, d))
	return d, pages
}

// published writes a workflow with two revisions, and schedules events; it returns their pages.
func published(t *testing.T, d *dev) map[string]string {
	t.Helper()
	for _, message := range []string{"Is this the one?", "Shall it be published?"} {
		d.gaff(t, "workflows", "apply", write(t, d.dir, `name: poster
description: Draws posters, and asks before one is published
inputs:
  - {name: prompts, type: list, items: string, required: true}
steps:
  - name: draw
    for_each: input.prompts
    submit: {provider: fal, model: fal-ai/flux/dev, input: {prompt: "${item}"}}
  - name: review
    needs: [draw]
    approve: {message: "`+message+`"}
  - name: publish
    needs: [review]
    emit: {type: poster.approved}
`))
	}
	for _, e := range [][2]string{{"reminder.due", "10m"}, {"report.daily", "14h"}, {"invoice.due", "21d"}} {
		d.gaff(t, "publish", e[0], "--data", `{"user":"anna","film":"harbour-film"}`, "--delay", e[1], "--project", "harbour-film")
	}
	ids := regexp.MustCompile(`sch_\w+`).FindAllString(d.gaff(t, "scheduled", "list"), -1)
	d.gaff(t, "scheduled", "cancel", ids[1])
	return map[string]string{
		"workflow-edit": "/workflows/poster/edit", "workflow-revisions": "/workflows/poster/revisions?show=1", "scheduled": "/scheduled", "scheduled-event": "/scheduled/" + ids[0],
	}
}

// webp takes a picture of the window, of a size that is fair for a repository.
func (w *window) webp(path string) {
	w.Helper()
	quality := int64(60)
	var picture []byte
	err := w.step(func(ctx context.Context) error {
		return chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			r, err := cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatWebp, Quality: &quality})
			if err == nil {
				picture = r.Data
			}
			return err
		}))
	})
	if err == nil {
		err = os.WriteFile(path, picture, 0o644)
	}
	if err != nil {
		w.Error(err)
	}
}

// write keeps text in a file.
func write(t *testing.T, dir, text string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "body.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPictures(t *testing.T) {
	if *pictures == "" {
		return // made on demand: make screenshots
	}
	if err := os.MkdirAll(*pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	d, pages := studio(t)
	empty := startDev(t, t.TempDir(), "--samples=false")
	for _, v := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"light", 1280, 860, false}, {"dark", 1280, 860, true}, {"phone", 390, 844, false}, {"wide", 1920, 1080, false}} {
		win := d.open(t, v.width, v.height, v.dark)
		win.forgive = []string{"/nowhere"}
		take := func(name string) { win.webp(filepath.Join(*pictures, name+"-"+v.name+".webp")) }
		win.goTo("/login")
		take("login")
		win.login()
		for name, path := range pages {
			win.goTo(path)
			win.eventually("the pictures are there", `[...document.images].every(i => i.complete || i.getBoundingClientRect().top > innerHeight)
				&& [...document.querySelectorAll('video')].every(v => v.readyState >= 2 || v.getBoundingClientRect().top > innerHeight)
				&& (!document.querySelector('[data-tail]') || document.querySelector('[data-tail]').textContent === 'Live')`)
			take(name)
		}
		first := empty.open(t, v.width, v.height, v.dark)
		first.goTo("/login")
		first.login()
		first.goTo("/")
		first.webp(filepath.Join(*pictures, "new-gateway-"+v.name+".webp"))
		win.goTo("/")
		for name, key := range map[string]string{"palette": "/", "key-help": "?"} {
			win.run(chromedp.KeyEvent(key))
			win.eventually("the dialog", `document.querySelector('dialog[open]') !== null && (!document.querySelector('.palette') || document.querySelectorAll('.palette [role=option]').length > 5)`)
			take(name)
			win.run(chromedp.KeyEvent("\x1b"))
			win.eventually("it is closed", `document.querySelector('dialog[open]') === null`)
		}
	}
}
