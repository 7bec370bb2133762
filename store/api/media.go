package api

import (
	"encoding/xml"
	"errors"
	"net/http"
	"time"

	"mmspipe/store"
	"mmspipe/store/rest"
	"mmspipe/store/stream"
)

// media is the Media resource: these seven properties, in the order of the
// documentation's XML (twilio_api_v2010.json, api.v2010.account.message.media).
type media struct {
	XMLName     xml.Name  `json:"-" xml:"Media"`
	SID         string    `json:"sid" xml:"Sid"`
	AccountSID  string    `json:"account_sid" xml:"AccountSid"`
	ParentSID   string    `json:"parent_sid" xml:"ParentSid"`
	ContentType string    `json:"content_type" xml:"ContentType"`
	DateCreated rest.Date `json:"date_created" xml:"DateCreated"`
	DateUpdated rest.Date `json:"date_updated" xml:"DateUpdated"`
	URI         string    `json:"uri" xml:"Uri"`
}

// mediaList is a page of them. Any other key would break twilio-python, which
// takes the one that it does not know for the records.
type mediaList struct {
	XMLName xml.Name `json:"-" xml:"MediaList"`
	rest.Page
	Media []media `json:"media_list" xml:"Media"`
}

// resource is a record as the API shows it, with the suffix of its own
// representation.
func resource(m store.Media, suffix string) media {
	return media{
		SID: m.SID.String(), AccountSID: m.Account.String(), ParentSID: m.Message.String(), ContentType: m.ContentType,
		DateCreated: rest.Date(m.DateCreated), DateUpdated: rest.Date(m.DateUpdated), URI: mediaPath(m) + suffix,
	}
}

// mediaPath is where a medium's content is.
func mediaPath(m store.Media) string {
	return rest.Prefix + "Accounts/" + m.Account.String() + "/Messages/" + m.Message.String() + "/Media/" + m.SID.String()
}

// sids parses the SIDs of a path. One that is malformed names nothing.
func (p path) sids(r *http.Request) (account store.AccountSID, message store.MessageSID, err error) {
	account, err1 := store.ParseAccountSID(p.account)
	message, err2 := store.ParseMessageSID(p.message)
	if errors.Join(err1, err2) != nil {
		return account, message, rest.NotFound(r)
	}
	return account, message, nil
}

// find returns the record that a path names. What was deleted is not found. With
// [store.ErrDamaged] comes what names it.
func (a *api) find(r *http.Request, p path) (store.Media, error) {
	account, message, err := p.sids(r)
	if err != nil {
		return store.Media{}, err
	}
	sid, err := store.ParseMediaSID(p.media)
	if err != nil {
		return store.Media{}, rest.NotFound(r)
	}
	record, err := a.Store.Media(r.Context(), store.MediaKey{Account: account, Message: message, Media: sid})
	if errors.Is(err, store.ErrNotFound) || err == nil && !record.Deleted.IsZero() {
		return store.Media{}, rest.NotFound(r)
	}
	return record, err
}

// record is GET …/Media/{ME}.json and .xml.
func (a *api) record(w http.ResponseWriter, r *http.Request, p path) error {
	if err := allow(r, http.MethodGet, http.MethodHead, http.MethodDelete); err != nil {
		return err
	}
	if err := a.authorize(r, p, false); err != nil {
		return err
	}
	m, err := a.find(r, p)
	if err != nil {
		return err
	}
	return rest.Write(w, r, http.StatusOK, resource(m, p.suffix))
}

// list is GET …/Media.json, .xml and without a suffix, which is XML. A message
// that is known lists what is stored of it, be that nothing yet.
func (a *api) list(w http.ResponseWriter, r *http.Request, p path) error {
	if err := allow(r, http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	if err := a.authorize(r, p, false); err != nil {
		return err
	}
	query, err := rest.ParsePage(r, "DateCreated", "DateCreated<", "DateCreated>")
	if err != nil {
		return err
	}
	filter, err := rest.ParseDateFilter(r.URL.Query(), "DateCreated")
	if err != nil {
		return err
	}
	records, err := a.records(r, p)
	if err != nil {
		return err
	}
	all := []media{}
	for _, m := range records {
		if filter.Admits(m.DateCreated) {
			all = append(all, resource(m, p.suffix))
		}
	}
	page := mediaList{}
	page.Media, page.Page = rest.Cut(query, all, func(m media) string { return m.SID })
	return rest.Write(w, r, http.StatusOK, page)
}

// records are those of the message that a path names, in the order of their
// SIDs.
func (a *api) records(r *http.Request, p path) ([]store.Media, error) {
	account, message, err := p.sids(r)
	if err != nil {
		return nil, err
	}
	m, err := a.Store.Message(r.Context(), account, message)
	if errors.Is(err, store.ErrNotFound) || err == nil && !m.Deleted.IsZero() {
		return nil, rest.NotFound(r)
	}
	if err != nil {
		return nil, err
	}
	list, err := a.Store.ListMedia(r.Context(), account, message)
	return list, a.leftOut(err)
}

// leftOut logs that records are left out of a list because they are damaged. Every other
// error it returns.
func (a *api) leftOut(err error) error {
	if !errors.Is(err, store.ErrDamaged) {
		return err
	}
	a.Log.Error().Err(err).Str("hint", "mmspipe verify --fix mends it or puts it aside").Msg("left out of a list")
	return nil
}

// delete is DELETE …/Media/{ME} with any suffix. The Job comes first: from then
// on the deletion is finished whatever happens here.
func (a *api) delete(w http.ResponseWriter, r *http.Request, p path) error {
	if err := a.authorize(r, p, true); err != nil {
		return err
	}
	m, err := a.find(r, p)
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return err
	}
	if _, err := a.Streams.PublishJob(r.Context(), stream.NewDeleteMedia(m.Key())); err != nil {
		return err
	}
	if _, err := a.Store.DeleteMedia(r.Context(), m.Key(), time.Now().UTC()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
