package sqlstore

import "gaff/jobs"

// knownJobs is what a transaction of several operations knows of jobs.
type knownJobs struct {
	// read are those that were read for all operations at once, until an operation reads or
	// writes them; nil for a missing one.
	read map[jobs.JobRef]*jobScan
	// deferred are those with deferred rows.
	deferred map[jobs.JobRef]bool
	// unsettled are the ids of unsettled ones; they have no media, as a rule.
	unsettled map[string]bool
	// media are the deferred rows, by job and position.
	media map[[2]string]bool
}

// refsOf returns the names under which a job is found.
func refsOf(j *jobs.Job) [2]jobs.JobRef {
	return [2]jobs.JobRef{{ID: j.ID}, {Provider: j.Provider, RequestID: j.RequestID}}
}

// wrote forgets the row that was read of a job.
func (k *knownJobs) wrote(j *jobs.Job) {
	for _, ref := range refsOf(j) {
		delete(k.read, ref)
	}
}

// defers records that a row of the job is deferred.
func (k *knownJobs) defers(j *jobs.Job) {
	if k.deferred == nil {
		k.deferred = map[jobs.JobRef]bool{}
	}
	for _, ref := range refsOf(j) {
		k.deferred[ref] = true
	}
}

// seen records whether a job is settled.
func (k *knownJobs) seen(j *jobs.Job, settled bool) {
	if k.unsettled == nil {
		k.unsettled = map[string]bool{}
	}
	k.unsettled[j.ID] = !settled
}

// place records a deferred row of a job's media.
func (k *knownJobs) place(m *jobs.Media) {
	if k.media == nil {
		k.media = map[[2]string]bool{}
	}
	k.media[[2]string{m.JobID, m.Position}] = true
}

// likelyEmpty reports whether the job most likely has no media row at the position.
func (k *knownJobs) likelyEmpty(m *jobs.Media) bool {
	return k.unsettled[m.JobID] && !k.media[[2]string{m.JobID, m.Position}]
}
