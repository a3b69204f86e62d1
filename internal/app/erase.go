package app

import "gaff/internal/erase"

// eraser deletes the data of users, projects, jobs and events.
func (p *process) eraser() *erase.Service {
	o := erase.Options{Store: p.store, Cancel: p.jobs.Cancel, CancelRun: p.engine.Cancel, Log: p.log}
	if p.files.keeper != nil {
		o.RemoveFiles = p.files.keeper.RemoveErased
	}
	return erase.New(o)
}
