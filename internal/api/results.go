package api

import (
	"context"
	"math"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gaff/jobs"
)

type jobDoc struct {
	ID          string  `json:"id"`
	Provider    string  `json:"provider"`
	Model       *string `json:"model"`
	Kind        *string `json:"kind"`
	ProjectID   *string `json:"projectId"`
	UserID      *string `json:"userId"`
	RequestID   *string `json:"requestId" doc:"The provider's name for the work."`
	Status      string  `json:"status" enum:"queued,processing,completed,failed,cancelled"`
	Result      rawJSON `json:"result" doc:"As the provider sent it. Lists and the stream leave one of more than 64 KiB out."`
	ResultSize  int64   `json:"resultSize" doc:"How long the result is, in bytes; 0 if there is none."`
	Error       *string `json:"error" doc:"For people."`
	ErrorType   *string `json:"errorType" doc:"For programs, such as content_policy_violation."`
	SettledBy   *string `json:"settledBy" doc:"webhook or reconciliation; null until settled."`
	Metadata    rawJSON `json:"metadata"`
	CreatedAt   *string `json:"createdAt" format:"date-time"`
	SubmittedAt *string `json:"submittedAt" format:"date-time"`
	SettledAt   *string `json:"settledAt" format:"date-time"`
	UpdatedAt   *string `json:"updatedAt" format:"date-time"`

	Submit         *string `json:"submit" doc:"How far the submit has come: waiting, sending, accepted, unknown (the answer was lost; it is not repeated) or refused. Null: gaff did not submit it."`
	IdempotencyKey *string `json:"idempotencyKey"`
	Cost           *string `json:"cost" doc:"What the provider billed, in units of its own; null if it did not say."`
	NextPollAt     *string `json:"nextAskAt" format:"date-time" doc:"When the provider will be asked if nothing is heard until then."`
	Polls          int     `json:"asks" doc:"How often the provider was asked."`
	RunID          *string `json:"runId"`
	StepID         *string `json:"stepId"`

	ExpectedSeconds *float64 `json:"expectedSeconds" doc:"How long jobs of this model take as a rule, from submit to end. Null: not known yet, or the job has ended."`
	ExpectedAt      *string  `json:"expectedAt" format:"date-time" doc:"When the job should be done by that measure; a time that has passed means that it is late."`
}

func (s *server) jobDoc(j jobs.Job) jobDoc {
	d := jobDoc{
		ID: j.ID, Provider: j.Provider, Model: orNull(j.Model), Kind: orNull(j.Kind), ProjectID: orNull(j.ProjectID),
		UserID: orNull(j.UserID), RequestID: orNull(j.RequestID), Status: j.Status.String(), ResultSize: j.ResultSize,
		Error: orNull(j.Error), ErrorType: orNull(j.ErrorType), SettledBy: orNull(j.SettledBy), Metadata: rawJSON(j.Metadata),
		CreatedAt: stamp(j.CreatedAt), SubmittedAt: stamp(j.SubmittedAt), SettledAt: stamp(j.SettledAt), UpdatedAt: stamp(j.UpdatedAt),
		Submit: orNull(j.Submit.String()), IdempotencyKey: orNull(j.IdempotencyKey), Cost: orNull(j.Cost), NextPollAt: stamp(j.NextPollAt),
		Polls: j.Polls, RunID: orNull(j.RunID), StepID: orNull(j.StepID),
	}
	if len(j.Result) <= jobs.MaxListed {
		d.Result = rawJSON(j.Result)
	}
	if s.o.Jobs == nil {
		return d
	}
	if takes, at := s.o.Jobs.Expected(&j); takes > 0 {
		seconds := math.Round(takes.Seconds()*100) / 100
		d.ExpectedSeconds, d.ExpectedAt = &seconds, stamp(at)
	}
	return d
}

type mediaDoc struct {
	ID           string  `json:"id"`
	JobID        string  `json:"jobId"`
	ProjectID    *string `json:"projectId"`
	Position     string  `json:"position" doc:"Where the file stands in the job's result."`
	URL          string  `json:"url" doc:"Where the provider keeps it. A data: link of more than 4 KiB is shown as data:image/png;sha256=…; in full where one row is asked for that has no copy."`
	StoredURL    *string `json:"storedUrl" doc:"Where gaff keeps it: a link that needs no token and ends after a day (media.link_for)."`
	ThumbnailURL *string `json:"thumbnailUrl" doc:"A small picture of it, likewise; of images only."`
	Storage      string  `json:"storage" enum:"none,pending,stored,gone,failed" doc:"How far the copy has come. gone: the provider has the file no more."`
	StorageError *string `json:"storageError" doc:"What went wrong with the copy last."`
	StoredAt     *string `json:"storedAt" format:"date-time"`
	MediaType    string  `json:"mediaType" enum:"generated-image,generated-video,generated-audio,generated-model,generated-file"`
	ContentType  *string `json:"contentType"`
	Size         *int64  `json:"size" doc:"Bytes."`
	SHA256       *string `json:"sha256"`
	Metadata     rawJSON `json:"metadata" doc:"width, height, duration, generatedAt and what else is known."`
	CreatedAt    *string `json:"createdAt" format:"date-time"`
}

func (s *server) mediaDoc(m jobs.Media) mediaDoc {
	doc := mediaDoc{
		ID: m.ID, JobID: m.JobID, ProjectID: orNull(m.ProjectID), Position: m.Position, URL: m.URL, MediaType: m.MediaType,
		ContentType: orNull(m.ContentType), SHA256: orNull(m.SHA256), Metadata: rawJSON(m.Metadata), Storage: m.Storage.String(),
		StorageError: orNull(m.StorageError), StoredAt: stamp(m.StoredAt), CreatedAt: stamp(m.CreatedAt),
	}
	if m.Size > 0 {
		doc.Size = &m.Size
	}
	if s.o.Media != nil {
		stored, thumbnail := s.o.Media.Links(&m)
		doc.StoredURL, doc.ThumbnailURL = orNull(stored), orNull(thumbnail)
	}
	return doc
}

type jobsInput struct {
	Paging
	Provider  string `query:"provider"`
	ProjectID string `query:"projectId"`
	UserID    string `query:"userId"`
	RequestID string `query:"requestId"`
	Status    string `query:"status" enum:"queued,processing,completed,failed,cancelled"`
}

type mediaInput struct {
	Paging
	ProjectID string `query:"projectId"`
	JobID     string `query:"jobId"`
	MediaType string `query:"mediaType"`
	Storage   string `query:"storage" enum:"none,pending,stored,gone,failed" doc:"How far the copy has come."`
}

func (s *server) describeResults(api huma.API) {
	s.describeJobs(api)
	huma.Register(api, operation(http.MethodGet, "/api/v1/jobs", "list-jobs", "List jobs, newest first", Viewer),
		func(ctx context.Context, in *jobsInput) (*output[list[jobDoc]], error) {
			f := jobs.JobFilter{
				Provider: in.Provider, ProjectID: in.ProjectID, UserID: in.UserID, RequestID: in.RequestID, Cursor: in.page(),
			}
			if status, ok := jobs.ParseJobStatus(in.Status); ok {
				f.Status = &status
			}
			page, err := s.o.Store.Jobs(ctx, f)
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(page, s.jobDoc), nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/jobs/{id}", "get-job", "One job", Viewer),
		func(ctx context.Context, in *jobIDInput) (*output[jobDetail], error) {
			j, err := s.o.Store.Job(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			return s.jobDetail(ctx, j)
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/media", "list-media", "List media, newest first", Viewer),
		func(ctx context.Context, in *mediaInput) (*output[list[mediaDoc]], error) {
			f := jobs.MediaFilter{ProjectID: in.ProjectID, JobID: in.JobID, MediaType: in.MediaType, Cursor: in.page()}
			if storage, ok := jobs.ParseStorage(in.Storage); ok {
				f.Storage = &storage
			}
			page, err := s.o.Store.Media(ctx, f)
			if err != nil {
				return nil, s.failure(err)
			}
			return listOf(page, s.mediaDoc), nil
		})
	huma.Register(api, operation(http.MethodGet, "/api/v1/media/{id}", "get-media", "One media row", Viewer),
		func(ctx context.Context, in *idInput) (*output[mediaDoc], error) {
			m, err := s.o.Store.MediaByID(ctx, in.ID)
			if err != nil {
				return nil, s.failure(err)
			}
			if m.Shortened() && m.Storage != jobs.StorageStored {
				// Nowhere else is the file as such.
				if j, err := s.o.Store.Job(ctx, m.JobID); err == nil {
					if link, ok := jobs.WholeLink(j.Result, m.URL); ok {
						m.URL = link
					}
				}
			}
			return &output[mediaDoc]{s.mediaDoc(*m)}, nil
		})
}

// jobIDInput is wider than other ids: an asker's own id may be anything.
type jobIDInput struct {
	ID string `path:"id" maxLength:"1024"`
}
