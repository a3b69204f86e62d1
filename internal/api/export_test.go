package api

import (
	"maps"
	"slices"
)

// Sensitive lists the operations whose use the audit log has although they change nothing.
func Sensitive() []string { return slices.Sorted(maps.Keys(sensitive)) }

// OperationIDs lists all operations.
func OperationIDs() (all []string) {
	for _, r := range new(server).routes() {
		all = append(all, r.op.OperationID)
	}
	return all
}
