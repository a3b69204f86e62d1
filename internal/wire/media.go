package wire

import (
	"gaff"
	"gaff/jobs"
)

// Media is a file that a job produced.
type Media struct {
	ID           string `json:"id" example:"med_01KAVJ0Z6M3Q8R5T7W9XYZABCD"`
	JobID        string `json:"jobId"`
	ProjectID    Text   `json:"projectId"`
	Position     string `json:"position" doc:"Where the file is in the job's result."`
	URL          string `json:"url" doc:"The provider's URL of the file. A data: link of more than 4 KiB is written as data:image/png;sha256=…; GET /api/v1/media/{id} has it in full if there is no copy."`
	StoredURL    Text   `json:"storedUrl" doc:"A link to gaff's copy; it needs no token and expires after a day (media.link_for)."`
	ThumbnailURL Text   `json:"thumbnailUrl" doc:"A link to a small picture of an image; it needs no token and expires after a day."`
	ExpiresAt    Time   `json:"storedUrlExpiresAt" doc:"When storedUrl and thumbnailUrl expire."`
	LinkURL      Text   `json:"linkUrl" doc:"A permanent link to gaff's copy, which needs no token; null until POST /api/v1/media/{id}/link. It works until it is revoked."`
	LinkSmallURL Text   `json:"linkThumbnailUrl" doc:"The permanent link to the small picture of an image."`
	Storage      string `json:"storage" enum:"none,pending,stored,gone,failed" doc:"The state of the copy. gone: the provider no longer has the file."`
	StorageError Text   `json:"storageError" doc:"The last failure of the copy."`
	StoredAt     Time   `json:"storedAt"`
	MediaType    string `json:"mediaType" enum:"generated-image,generated-video,generated-audio,generated-model,generated-file"`
	ContentType  Text   `json:"contentType" example:"image/png"`
	Size         *int64 `json:"size" doc:"Bytes."`
	SHA256       Text   `json:"sha256"`
	Metadata     JSON   `json:"metadata" doc:"width, height, duration, generatedAt and what else is known."`
	CreatedAt    Time   `json:"createdAt"`
}

// NewMedia makes the document of a file.
func NewMedia(m jobs.Media) Media {
	doc := Media{
		ID: m.ID, JobID: m.JobID, ProjectID: Text(m.ProjectID), Position: m.Position, URL: m.URL, MediaType: m.MediaType,
		StoredURL: Text(m.Links.StoredURL), ThumbnailURL: Text(m.Links.ThumbnailURL), ExpiresAt: Time{m.Links.ExpiresAt},
		LinkURL: Text(m.Links.LinkURL), LinkSmallURL: Text(m.Links.LinkThumbnailURL), ContentType: Text(m.ContentType), SHA256: Text(m.SHA256),
		Metadata: JSON(m.Metadata), Storage: m.Storage.String(), StorageError: Text(m.StorageError), StoredAt: Time{m.StoredAt},
		CreatedAt: Time{m.CreatedAt},
	}
	if m.Size > 0 {
		doc.Size = &m.Size
	}
	return doc
}

// MediaQuery chooses files.
type MediaQuery struct {
	ProjectID string `query:"projectId" flag:"project" doc:"Only of this project."`
	JobID     string `query:"jobId" flag:"job" doc:"Only of this job."`
	MediaType string `query:"mediaType" flag:"type" enum:"generated-image,generated-video,generated-audio,generated-model,generated-file" doc:"Only of this media type: generated-image, generated-video, generated-audio, generated-model or generated-file."`
	Storage   string `query:"storage" flag:"storage" enum:"none,pending,stored,gone,failed" doc:"Only with a copy in this state: none, pending, stored, gone or failed."`
	Model     string `query:"model" flag:"model" doc:"Only of jobs of this model."`
	Since     string `query:"since" flag:"since" doc:"Created at or after: a time, or a duration such as 24h for that long ago."`
	Until     string `query:"until" flag:"until" doc:"Created before."`
}

// Filter returns the query as stores take it.
func (q MediaQuery) Filter(c gaff.Cursor) (f jobs.MediaFilter, err error) {
	f = jobs.MediaFilter{ProjectID: q.ProjectID, JobID: q.JobID, MediaType: q.MediaType, Model: q.Model, Cursor: c}
	if storage, ok := jobs.ParseStorage(q.Storage); ok {
		f.Storage = &storage
	}
	f.Since, f.Until, err = period(q.Since, q.Until)
	return f, err
}
