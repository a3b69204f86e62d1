package wire

import (
	"fmt"
	"time"

	"gaff/internal/erase"
)

// ErasureRequest chooses what to erase: exactly one of the ids.
type ErasureRequest struct {
	UserID    string `json:"userId,omitempty" minLength:"1" maxLength:"1024" doc:"Everything of a user: jobs, runs, files, and the events and rejected requests that name the user."`
	ProjectID string `json:"projectId,omitempty" minLength:"1" maxLength:"1024" doc:"Everything of a project, and the project."`
	JobID     string `json:"jobId,omitempty" minLength:"1" maxLength:"1024"`
	EventID   string `json:"eventId,omitempty" minLength:"1" maxLength:"1024"`
	MediaID   string `json:"mediaId,omitempty" minLength:"1" maxLength:"1024" doc:"A file and its copy; its job stays."`
	DryRun    bool   `json:"dryRun,omitempty" doc:"Only count."`
	Cancel    bool   `json:"cancel,omitempty" doc:"First cancel jobs and runs that are not finished, at the provider too. Without it they are a conflict."`
}

// Target returns the rows that the request names.
func (r ErasureRequest) Target() (t erase.Target, err error) {
	n := 0
	for _, named := range []erase.Target{{Kind: erase.User, ID: r.UserID}, {Kind: erase.Project, ID: r.ProjectID}, {Kind: erase.Job, ID: r.JobID}, {Kind: erase.Event, ID: r.EventID}, {Kind: erase.Media, ID: r.MediaID}} {
		if named.ID != "" {
			t, n = named, n+1
		}
	}
	if n != 1 {
		return t, fmt.Errorf("%d ids are given; want exactly one of userId, projectId, jobId, eventId and mediaId", n)
	}
	return t, nil
}

// Erasure counts the erased rows and files, or in a dry run those that an erasure would delete.
type Erasure struct {
	Kind           string `json:"kind" enum:"user,project,job,event,media"`
	Pseudonym      string `json:"pseudonym" doc:"Replaces the id in the audit log and in other rows that stay. It is the same each time."`
	DryRun         bool   `json:"dryRun"`
	Events         int64  `json:"events" doc:"With their deliveries, attempts, bodies and copies."`
	Jobs           int64  `json:"jobs" doc:"With their inputs, results and logs."`
	Media          int64  `json:"media" doc:"Rows of files. A copy in storage is deleted unless a file of another job has the same content."`
	Runs           int64  `json:"runs"`
	Projects       int64  `json:"projects"`
	Rejections     int64  `json:"rejections"`
	Records        int64  `json:"records" doc:"Rows that stay, in which the id is replaced, such as lines of the audit log; and jobs with the result of an erased one, whose id is removed."`
	UnfinishedJobs int    `json:"unfinishedJobs" doc:"They must be cancelled first."`
	UnfinishedRuns int    `json:"unfinishedRuns" doc:"They must be cancelled first."`
	FilesPending   Text   `json:"filesPending" doc:"Why copies are not deleted from storage yet. gaff repeats it every hour. Null if they are."`
	ErasedAt       Time   `json:"erasedAt" doc:"Null in a dry run."`
	Backups        Text   `json:"backups" doc:"What this means for backups, for people."`
}

// NewErasure makes the document of an erasure's findings.
func NewErasure(t erase.Target, f *erase.Found, dryRun bool) Erasure {
	d := Erasure{
		Kind: string(t.Kind), Pseudonym: f.Pseudonym, DryRun: dryRun, Events: f.Events, Jobs: f.Jobs, Media: f.Media, Runs: f.Runs, Projects: f.Projects,
		Rejections: f.Rejections, Records: f.Records,
	}
	if dryRun {
		d.UnfinishedJobs, d.UnfinishedRuns = len(f.OpenJobs), len(f.OpenRuns)
	}
	return d
}

// Done completes the document of an erasure.
func (d *Erasure) Done(e *erase.Erased) {
	d.ErasedAt = Time{e.At}
	if e.FilesPending != nil {
		d.FilesPending = Text(e.FilesPending.Error())
	}
	d.Backups = Text("Backups made before " + e.At.UTC().Format(time.RFC3339) + " still have the data, until you delete them. After the restore of such a backup, erase again. " +
		"Run gaff compact to remove the data from the free space of the database.")
}

// Compacted is the result of a compaction.
type Compacted struct {
	Before int64 `json:"before" doc:"The size of the database in bytes, with its write-ahead log."`
	After  int64 `json:"after"`
	Note   Text  `json:"note" doc:"For people; null if there is nothing to say."`
}

// SigningKey is a key of gaff's own that signs, and that can be rotated.
type SigningKey struct {
	Name     string `json:"name" enum:"links,webhooks,callbacks" doc:"links: of links to files; webhooks: of the webhook URLs of jobs; callbacks: of requests to jobs' callback URLs."`
	Accepted int    `json:"accepted" doc:"How many keys are accepted: the one that signs, former ones, and a new one that does not sign yet."`
	// SignsFrom is null but in the answer to a rotation.
	SignsFrom Time `json:"signsFrom" doc:"After a rotation: when the new key signs, since other nodes must read it first."`
}

// KeyRotation says what happens to former keys.
type KeyRotation struct {
	Drop bool `json:"drop,omitempty" doc:"The keys before the one that signs now are no longer accepted: links and webhook URLs that they signed stop working."`
}

// SigningKeys are all of them.
type SigningKeys struct {
	Docs []SigningKey `json:"docs"`
}

// Secrets counts the secrets that are stored in the database, by the keys that encrypt them.
type Secrets struct {
	Enabled   bool `json:"enabled" doc:"Whether GAFF_SECRETS_KEY is set."`
	Current   int  `json:"current" doc:"Encrypted with the first key."`
	Older     int  `json:"older" doc:"Encrypted with another key."`
	Plain     int  `json:"plain" doc:"Not encrypted."`
	Locked    int  `json:"locked" doc:"Encrypted with a key that is not given."`
	Encrypted int  `json:"encrypted" doc:"How many this call encrypted."`
}
