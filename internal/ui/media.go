package ui

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/jobs"
)

type mediaView struct {
	Project, Kind string
	Media         []jobs.Media
	Pager         pagerView
}

var mediaKinds = []string{jobs.MediaImage, jobs.MediaVideo, jobs.MediaAudio, jobs.MediaModel, jobs.MediaFile}

func (c *console) media(q *request) (templ.Component, error) {
	q.title, q.nav = "Media", "media"
	v := mediaView{Project: q.query("projectId"), Kind: q.query("mediaType")}
	cursor := q.cursor()
	cursor.Limit = 48
	page, err := c.o.Store.Media(q.Context(), jobs.MediaFilter{ProjectID: v.Project, MediaType: v.Kind, Cursor: cursor})
	if err != nil {
		return nil, err
	}
	if v.Media, v.Pager = page.Items, pagerOf(q, page.Next); q.query("cursor") == "" {
		q.live = "media"
	}
	return mediaPage(v), nil
}

type mediaRowView struct {
	jobs.Media
	Meta shown
	Now  time.Time
}

func (c *console) mediaRow(q *request) (templ.Component, error) {
	m, err := c.o.Store.MediaByID(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav = "File "+m.ID, "media"
	return mediaRowPage(mediaRowView{*m, show(m.Metadata, false), q.now}), nil
}

// preview is the address from which the console may show a file: only what gaff keeps
// itself, on this host. Nothing is fetched from anywhere else.
func preview(m jobs.Media) string {
	if strings.HasPrefix(m.StoredURL, "/") && !strings.HasPrefix(m.StoredURL, "//") {
		return m.StoredURL
	}
	// The link names the gateway's public base; the console may be open under another.
	u, err := url.Parse(m.StoredURL)
	if err != nil || !strings.HasPrefix(u.Path, "/media/"+m.ID+"/") {
		return ""
	}
	return u.RequestURI()
}

// thumbnail is the address of a small picture of an image, or of the image where there is
// none.
func thumbnail(m jobs.Media) string {
	if m.ThumbnailKey != "" {
		return "/api/v1/media/" + url.PathEscape(m.ID) + "/thumbnail"
	}
	return preview(m)
}

// previewKind is how a file can be shown: image, video, audio, or not at all.
func previewKind(m jobs.Media) string {
	if preview(m) == "" {
		return ""
	}
	switch m.MediaType {
	case jobs.MediaImage:
		return "image"
	case jobs.MediaVideo:
		return "video"
	case jobs.MediaAudio:
		return "audio"
	}
	return ""
}

// outside is a file's address at the provider, if it can be opened in a browser.
func outside(m jobs.Media) string {
	u, err := url.Parse(m.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return u.String()
}

func mediaName(kind string) string { return strings.TrimPrefix(kind, "generated-") }

func mediaIcon(kind string) string {
	return cmp.Or(map[string]string{
		jobs.MediaImage: "image", jobs.MediaVideo: "video", jobs.MediaAudio: "audio", jobs.MediaModel: "cube",
	}[kind], "file")
}

// shape says how large a picture is, or how long a film, in the words of its metadata.
func shape(m jobs.Media) string {
	var meta struct {
		Width, Height, Duration json.Number
	}
	if json.Unmarshal(m.Metadata, &meta) != nil {
		return ""
	}
	var parts []string
	if meta.Width != "" && meta.Height != "" {
		parts = append(parts, clip(meta.Width.String(), 12)+"×"+clip(meta.Height.String(), 12))
	}
	if meta.Duration != "" {
		parts = append(parts, clip(meta.Duration.String(), 12)+" s")
	}
	if m.Size > 0 {
		parts = append(parts, size(m.Size))
	}
	return strings.Join(parts, " · ")
}
