package ui

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
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
	page, err := q.store.Media(q.Context(), jobs.MediaFilter{ProjectID: v.Project, MediaType: v.Kind, Cursor: cursor})
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
	Meta   shown
	Now    time.Time
	MayAct bool
}

func (c *console) mediaRow(q *request) (templ.Component, error) {
	m, err := q.store.MediaByID(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav = "File "+m.ID, "media"
	return mediaRowPage(mediaRowView{*m, show(m.Metadata, false), q.now, q.may(access.Operator)}), nil
}

// preview returns the URL from which the console shows a file: a stored copy on this host. The
// console loads nothing from other hosts.
func preview(m jobs.Media) string {
	if strings.HasPrefix(m.Links.StoredURL, "/") && !strings.HasPrefix(m.Links.StoredURL, "//") {
		return m.Links.StoredURL
	}
	// The link names the gateway's public base; the console may be open under another.
	u, err := url.Parse(m.Links.StoredURL)
	if err != nil || !strings.HasPrefix(u.Path, "/media/"+m.ID+"/") {
		return ""
	}
	return u.RequestURI()
}

// thumbnail returns the URL of an image's thumbnail, or of the image if it has none.
func thumbnail(m jobs.Media) string {
	if m.ThumbnailKey != "" {
		return "/api/v1/media/" + url.PathEscape(m.ID) + "/thumbnail"
	}
	return preview(m)
}

// previewKind returns how a file can be shown: as image, video, audio, or "" for not at all.
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

// outside returns a file's URL at the provider, if a browser can open it.
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

// shape describes a file's dimensions, duration and size, from its metadata.
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
