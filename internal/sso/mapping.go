package sso

import (
	"fmt"
	"slices"
	"strings"

	"gaff/internal/access"
)

// Mapping gives a group of the identity provider a role.
type Mapping struct {
	// Group is the group's name, or "*" for every user.
	Group string
	Role  access.Role
	// Project, if not empty, is the only project that members of the group reach.
	Project string
}

// ParseMapping reads a text such as "studio=operator" or "studio=operator:film". The group may
// contain "=", as names of directories do.
func ParseMapping(text string) (m Mapping, err error) {
	text = strings.TrimSpace(text)
	i := strings.LastIndexByte(text, '=')
	if i < 0 {
		return m, fmt.Errorf("%.80q is not a role of a group; write one like studio=operator, or studio=operator:PROJECT", text)
	}
	role, project, limited := strings.Cut(text[i+1:], ":")
	m.Group, m.Project = strings.TrimSpace(text[:i]), strings.TrimSpace(project)
	if m.Group == "" {
		return m, fmt.Errorf("%.80q names no group; write one like studio=operator, or *=viewer for every user", text)
	}
	var ok bool
	if m.Role, ok = access.ParseRole(strings.TrimSpace(role)); !ok {
		return m, fmt.Errorf("%.80q has an unknown role %.40q; want viewer, operator or admin", text, role)
	}
	if limited && m.Project == "" {
		return m, fmt.Errorf("%.80q names no project after the colon", text)
	}
	return m, nil
}

// ParseMappings reads several texts. The first one that matches a user counts, so one for every
// user must be the last.
func ParseMappings(texts []string) (all []Mapping, err error) {
	for i, text := range texts {
		m, err := ParseMapping(text)
		if err != nil {
			return nil, err
		}
		if m.Group == "*" && i < len(texts)-1 {
			return nil, fmt.Errorf("%.80q matches every user, so the roles after it would have no effect; move it to the end", text)
		}
		all = append(all, m)
	}
	return all, nil
}

// roleOf returns the role and scope of a user: of the first mapping that matches one of the groups.
func roleOf(mappings []Mapping, groups []string) (access.Role, access.Scope) {
	for _, m := range mappings {
		if m.Group == "*" || slices.Contains(groups, m.Group) {
			return m.Role, access.Scope{Project: m.Project}
		}
	}
	return access.NoRole, access.Scope{}
}
