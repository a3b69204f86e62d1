package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/id"
)

// Media types of the files that jobs produce.
const (
	MediaImage = "generated-image"
	MediaVideo = "generated-video"
	MediaAudio = "generated-audio"
	MediaModel = "generated-model"
	MediaFile  = "generated-file"
)

// Media is a file that a job produced.
type Media struct {
	ID        string `json:"id"` // med_...
	JobID     string `json:"jobId"`
	ProjectID string `json:"projectId,omitempty"`
	// Position is the file's place in the results of its job: the provider's name, a
	// colon and a JSON pointer, such as "acme:/images/0". Unique within the job, so no
	// file has two rows.
	Position string `json:"position"`
	// URL is where the provider keeps it. A "data:" link of more than 4 KiB is in the job's
	// result, and this is its short form "data:image/png;sha256=…"; see [Media.Shortened].
	URL         string `json:"url"`
	MediaType   string `json:"mediaType"`             // one of the Media… constants
	ContentType string `json:"contentType,omitempty"` // empty if not known
	Size        int64  `json:"size"`                  // bytes; 0 if not known
	SHA256      string `json:"sha256,omitempty"`      // lower case hex; empty if not known
	// Storage is the state of gaff's copy, and StorageError its last failure; may be empty.
	Storage      Storage `json:"storage"`
	StorageError string  `json:"storageError,omitempty"`
	// StoredKey and ThumbnailKey are the keys of the copy and of a small picture of it in
	// the storage; empty without one.
	StoredKey    string `json:"-"`
	ThumbnailKey string `json:"-"`
	// StoredAt is zero until the copy is stored.
	StoredAt time.Time `json:"storedAt,omitzero"`
	// LinkToken is the secret part of the file's permanent links, until they are revoked; empty
	// without them.
	LinkToken string `json:"-"`
	// Links are set when a row is read, if the program gives out links.
	Links MediaLinks `json:"-"`
	// Metadata holds width, height, duration, generatedAt and what else is known.
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	CreatedAt time.Time       `json:"createdAt,omitzero"`
}

// MediaLinks are links to a file's copy that need no token. They are not stored.
type MediaLinks struct {
	// StoredURL and ThumbnailURL are signed links to the copy and to its thumbnail, valid until
	// ExpiresAt; empty without the copy.
	StoredURL    string    `json:"storedUrl,omitempty"`
	ThumbnailURL string    `json:"thumbnailUrl,omitempty"`
	ExpiresAt    time.Time `json:"storedUrlExpiresAt,omitzero"`
	// LinkURL and LinkThumbnailURL are permanent links, which an application may store; empty
	// without a LinkToken, and without a thumbnail.
	LinkURL          string `json:"linkUrl,omitempty"`
	LinkThumbnailURL string `json:"linkThumbnailUrl,omitempty"`
}

// PosterOf returns the picture that the provider sent beside a file, such as the thumbnail of a
// video; nil without one. files are those of the file's job.
func PosterOf(files []Media, m *Media) *Media {
	for i := range files {
		name, beside := strings.CutPrefix(files[i].Position, m.Position+"/")
		name = strings.TrimSuffix(snake(name), "_url")
		if beside && slices.Contains(pictures, name) && files[i].MediaType == MediaImage {
			return &files[i]
		}
	}
	return nil
}

// Shortened reports whether a row's URL replaces a data: link that is in its job's
// result, where [WholeLink] finds it.
func (m *Media) Shortened() bool {
	head, hash, ok := strings.Cut(m.URL, hashMark)
	return ok && isDataLink(m.URL) && len(hash) == 2*sha256.Size && !strings.Contains(head, ",")
}

// Storage is the state of the copy of a file.
type Storage int

const (
	// StorageNone: no copy is wanted.
	StorageNone Storage = iota
	// StoragePending: the copy is to be made, or attempted again.
	StoragePending
	// StorageStored: the copy is stored.
	StorageStored
	// StorageGone: the provider no longer has the file.
	StorageGone
	// StorageFailed: it could not be made, and is not attempted again until a user asks.
	StorageFailed
)

var storageNames = [...]string{"none", "pending", "stored", "gone", "failed"}

// String returns the name in lower case.
func (s Storage) String() string {
	if s < 0 || int(s) >= len(storageNames) {
		return "unknown"
	}
	return storageNames[s]
}

// ParseStorage is the reverse of [Storage.String]; ok is false for other text.
func ParseStorage(text string) (s Storage, ok bool) {
	for i, name := range storageNames {
		if name == text {
			return Storage(i), true
		}
	}
	return 0, false
}

// Types of the internal events about files; their data is a [MediaEvent].
const (
	// MediaCreated: a job produced a file.
	MediaCreated = "media.created"
	// MediaStored: a copy of it is stored.
	MediaStored = "media.stored"
)

// MediaEvent is the data of the internal events about a file. Size and SHA256 are those of
// the copy, zero before there is one.
type MediaEvent struct {
	MediaID     string `json:"mediaId"`
	JobID       string `json:"jobId"`
	ProjectID   string `json:"projectId"`
	MediaType   string `json:"mediaType"`
	ContentType string `json:"contentType"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
	Storage     string `json:"storage"`
}

// Event makes an internal event about the file. Of events with the same key one is stored.
func (m *Media) Event(eventType, key string, now time.Time) (*gaff.Event, error) {
	data, err := json.Marshal(MediaEvent{
		MediaID: m.ID, JobID: m.JobID, ProjectID: m.ProjectID, MediaType: m.MediaType, ContentType: m.ContentType,
		Size: m.Size, SHA256: m.SHA256, Storage: m.Storage.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("describe media %s: %w", m.ID, err)
	}
	return &gaff.Event{
		Source: gaff.InternalSource, Type: eventType, DedupeKey: "media:" + m.ID + ":" + key, CorrelationID: m.JobID, ReceivedAt: now, Data: data,
	}, nil
}

// KeepFiles is the handler of the internal event "media.created" that makes copies of files.
// If it is registered, new files are StoragePending.
const KeepFiles = "media/keep"

// addFile adds a file's row, and an internal event about it if a handler wants that. It reports
// whether a copy is to be made.
func addFile(ctx context.Context, tx Tx, router Router, cause *gaff.Event, file *Media) (pending bool, err error) {
	if file.ID == "" {
		file.ID = id.New(id.Media, tx.Now())
	}
	ev, ds, err := routeCreated(router, file, tx.Now())
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(ds, func(d gaff.Delivery) bool { return d.Handler == KeepFiles }) {
		file.Storage = StoragePending // which is in the event
		if ev, ds, err = routeCreated(router, file, tx.Now()); err != nil {
			return false, err
		}
	}
	added, err := tx.AddMedia(ctx, file)
	if err != nil || !added || len(ds) == 0 {
		return false, err
	}
	if cause != nil {
		ev.ParentID, ev.Hop = cause.ID, cause.Hop+1
	}
	return file.Storage == StoragePending, tx.Emit(ctx, ev, ds)
}

// routeCreated makes the internal event about a new file, and its deliveries.
func routeCreated(router Router, file *Media, now time.Time) (*gaff.Event, []gaff.Delivery, error) {
	ev, err := file.Event(MediaCreated, "created", now)
	if err != nil {
		return nil, nil, err
	}
	return ev, router.Route(ev), nil
}

// MediaTypeOf returns the media type of a file: by its content type, else by the extension of
// its link or name, else by what the words around it say.
func MediaTypeOf(contentType, url, hint string) string {
	data := isDataLink(url)
	if data && contentType == "" {
		contentType, _, _ = strings.Cut(url[len(dataScheme):], ";")
		contentType, _, _ = strings.Cut(contentType, ",")
		contentType = strings.TrimSpace(contentType)
	}
	kind, _, _ := strings.Cut(strings.ToLower(contentType), "/")
	switch kind {
	case "image":
		return MediaImage
	case "video":
		return MediaVideo
	case "audio":
		return MediaAudio
	case "model":
		return MediaModel
	}
	link, _, _ := strings.Cut(url, "?")
	name, _, _ := strings.Cut(hint, " ")
	for _, extension := range []string{path.Ext(link), path.Ext(name)} {
		if t := extensions[strings.ToLower(extension)]; t != "" && !data {
			return t
		}
	}
	hint = strings.ToLower(hint)
	for _, word := range words {
		if strings.Contains(hint, word.text) {
			return word.mediaType
		}
	}
	return MediaFile
}

var extensions = map[string]string{
	".png": MediaImage, ".jpg": MediaImage, ".jpeg": MediaImage, ".webp": MediaImage, ".gif": MediaImage,
	".avif": MediaImage, ".svg": MediaImage, ".bmp": MediaImage, ".tiff": MediaImage, ".heic": MediaImage,
	".mp4": MediaVideo, ".webm": MediaVideo, ".mov": MediaVideo, ".mkv": MediaVideo, ".avi": MediaVideo, ".m4v": MediaVideo,
	".mp3": MediaAudio, ".wav": MediaAudio, ".ogg": MediaAudio, ".flac": MediaAudio, ".m4a": MediaAudio, ".aac": MediaAudio,
	".opus": MediaAudio,
	".glb":  MediaModel, ".gltf": MediaModel, ".obj": MediaModel, ".fbx": MediaModel, ".usdz": MediaModel, ".stl": MediaModel,
	".ply": MediaModel,
	".zip": MediaFile, ".json": MediaFile, ".safetensors": MediaFile, ".txt": MediaFile, ".mtl": MediaFile,
}

// words are looked for in order: "video_thumbnail_image" is an image.
var words = []struct{ text, mediaType string }{
	{"zip", MediaFile}, {"config", MediaFile}, {"lora", MediaFile}, {"lottie", MediaFile},
	{"image", MediaImage}, {"thumbnail", MediaImage}, {"mask", MediaImage}, {"texture", MediaImage}, {"poster", MediaImage}, {"snapshot", MediaImage}, {"spritesheet", MediaImage},
	{"video", MediaVideo}, {"output_url", MediaVideo},
	{"audio", MediaAudio}, {"vocals", MediaAudio}, {"drums", MediaAudio}, {"bass", MediaAudio}, {"guitar", MediaAudio},
	{"piano", MediaAudio}, {"speech", MediaAudio}, {"music", MediaAudio},
	{"mesh", MediaModel}, {"model", MediaModel}, {"glb", MediaModel}, {"character", MediaModel}, {"animation", MediaModel},
}
