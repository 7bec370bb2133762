package main

import (
	"fmt"
	"strings"

	"mmspipe/resize"
)

type profilesCommand struct{}

// Help is the long form of the subcommand's help.
func (profilesCommand) Help() string {
	return `Choose a profile with --profile, or with MMSPIPE_PROFILE for the service. Its bytes are for a whole message. A reserve is kept for SMIL, part headers and text; the pictures of the message share the rest.`
}

// Run prints the carrier profiles with the sources of their figures.
func (profilesCommand) Run(std stdio) error {
	var b strings.Builder
	for i, p := range resize.Profiles() {
		if i > 0 {
			b.WriteByte('\n')
		}
		name := p.Name
		if name == resize.DefaultProfile {
			name += " (default)"
		}
		pixels := "of any size"
		if p.MaxWidth > 0 {
			pixels = fmt.Sprintf("up to %d×%d pixels", p.MaxWidth, p.MaxHeight)
		}
		fmt.Fprintf(&b, "%s\n  %d bytes a message, %d of them in reserve\n  pictures %s, %s\n",
			name, p.MaxBytes, p.Reserve, pixels, strings.Join(p.Types, ", "))
		for _, source := range p.Sources {
			fmt.Fprintf(&b, "  source: %s\n", source)
		}
	}
	_, err := fmt.Fprint(std.out, b.String())
	return err
}
