package ui

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
	"gaff/jobs"
)

// mediaFilter are the filters of the media page.
type mediaFilter struct{ Project, Kind, Model, Storage, Since string }

type mediaView struct {
	Filter          mediaFilter
	Models          []string // suggestions
	Cards           []mediaCard
	Pager           pagerView
	MayAct, MayDrop bool
}

// mediaCard is a file with what its job was asked for.
type mediaCard struct {
	jobs.Media
	Prompt, Model string
}

// about describes a card in one line.
func (m mediaCard) about() string {
	return cmp.Or(strings.Join(strings.Fields(m.Prompt), " "), m.Model, "Job "+m.JobID)
}

var mediaKinds = []string{jobs.MediaImage, jobs.MediaVideo, jobs.MediaAudio, jobs.MediaModel, jobs.MediaFile}

var mediaStates = []jobs.Storage{jobs.StorageStored, jobs.StoragePending, jobs.StorageFailed, jobs.StorageGone, jobs.StorageNone}

// cards adds to files the prompts and models of their jobs.
func (c *console) cards(q *request, media []jobs.Media) ([]mediaCard, error) {
	cards := make([]mediaCard, len(media))
	var ids []string
	for i, m := range media {
		cards[i].Media = m
		if m.JobID != "" && !slices.Contains(ids, m.JobID) {
			ids = append(ids, m.JobID)
		}
	}
	known, err := q.store.JobCards(q.Context(), ids)
	for i := range cards {
		card := known[cards[i].JobID]
		cards[i].Prompt, cards[i].Model = card.Prompt, card.Model
	}
	return cards, err
}

func (c *console) media(q *request) (templ.Component, error) {
	q.title, q.nav = "Media", "media"
	v := mediaView{
		Filter: mediaFilter{q.query("projectId"), q.query("mediaType"), q.query("model"), q.query("storage"), q.query("since")},
		MayAct: q.may(access.Operator), MayDrop: q.may(access.Admin) && !q.who.Scope.Limited(),
	}
	f := jobs.MediaFilter{ProjectID: v.Filter.Project, MediaType: v.Filter.Kind, Model: v.Filter.Model, Cursor: q.cursor()}
	f.Limit = 48
	if v.Filter.Storage != "" {
		state, ok := jobs.ParseStorage(v.Filter.Storage)
		if !ok {
			return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown state " + visible(clip(v.Filter.Storage, 40)) + ": want stored, pending, failed, gone or none."}
		}
		f.Storage = &state
	}
	var err error
	if f.Since, err = moment(v.Filter.Since, q.now); err != nil {
		return nil, err
	}
	page, err := q.store.Media(q.Context(), f)
	if err != nil {
		return nil, err
	}
	if v.Cards, err = c.cards(q, page.Items); err != nil {
		return nil, err
	}
	if v.Pager = pagerOf(q, page.Next); q.query("cursor") == "" {
		q.live = "media"
	}
	v.Models, _ = c.knownModels(q)
	return mediaPage(v), nil
}

// bareCards are cards without prompts, for pages about one job or run.
func bareCards(media []jobs.Media) []mediaCard {
	cards := make([]mediaCard, len(media))
	for i, m := range media {
		cards[i].Media = m
	}
	return cards
}

// chosenMedia reads the files that the query names, at most maxSelected.
func (c *console) chosenMedia(q *request) ([]mediaCard, error) {
	ids := q.queries("id")
	if len(ids) == 0 || len(ids) > maxSelected {
		return nil, &problem{http.StatusBadRequest, "Invalid request", "Choose 1 to " + number(maxSelected) + " files first."}
	}
	var files []jobs.Media
	for _, id := range ids {
		m, err := q.store.MediaByID(q.Context(), id)
		if err != nil {
			return nil, err
		}
		files = append(files, *m)
	}
	return c.cards(q, files)
}

// compareMedia shows chosen files side by side.
func (c *console) compareMedia(q *request) (templ.Component, error) {
	q.title, q.nav = "Compare files", "media"
	cards, err := c.chosenMedia(q)
	if err != nil {
		return nil, err
	}
	const most = 4
	return comparePage(cards[:min(len(cards), most)]), nil
}

// mediaLinks shows the links of chosen files as text.
func (c *console) mediaLinks(q *request) (templ.Component, error) {
	q.title, q.nav = "Links of files", "media"
	cards, err := c.chosenMedia(q)
	if err != nil {
		return nil, err
	}
	var links []string
	for _, m := range cards {
		links = append(links, cmp.Or(m.Links.LinkURL, m.Links.StoredURL, m.URL))
	}
	return mediaLinksPage(strings.Join(links, "\n")), nil
}

// mediaSelected copies or deletes the chosen files.
func (c *console) mediaSelected(w http.ResponseWriter, r *http.Request) {
	method, suffix, done := http.MethodPost, "/retry", "Fetched again"
	if r.PostFormValue("action") == "delete" {
		method, suffix, done = http.MethodDelete, "", "Deleted"
	}
	c.eachSelected(w, r, backTo(r), done, func(id string) (answer, error) {
		return c.call(r, method, "/api/v1/media/"+pathOf(id)+suffix, nil)
	})
}

type mediaRowView struct {
	mediaCard
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
	cards, err := c.cards(q, []jobs.Media{*m})
	if err != nil {
		return nil, err
	}
	return mediaRowPage(mediaRowView{cards[0], show(m.Metadata, false), q.now, q.may(access.Operator)}), nil
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

const (
	// autoModel is the size up to which the 3D view of a file loads by itself; above, a button loads it.
	autoModel = 20_000_000
	// maxModel is the size up to which a file has a 3D view.
	maxModel = 200_000_000
)

// hasViewer reports whether this build has the 3D view.
func hasViewer() bool { return len(viewer) > 0 }

// isModel reports whether a stored file is one that the 3D view reads. The type is that of the file's
// bytes: many providers call such files application/octet-stream.
func isModel(m jobs.Media) bool {
	return m.ContentType == "model/gltf-binary" && m.Size > 0 && preview(m) != ""
}

// previewKind returns how a file can be shown: as image, video, audio, model, or "" for not at all.
func previewKind(m jobs.Media) string {
	if preview(m) == "" {
		return ""
	}
	if isModel(m) {
		return "model"
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
