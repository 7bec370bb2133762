package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"
)

func (s *API) fetchAccount(c call) answer {
	path := accountsPath + s.account.sid
	return answer{status: http.StatusOK, body: map[string]any{
		"auth_token": s.account.token, "date_created": date(time.Unix(0, 0)), "date_updated": date(time.Unix(0, 0)),
		"friendly_name": "simulated", "owner_account_sid": s.account.sid, "sid": s.account.sid, "status": "active", "type": "Full",
		"subresource_uris": map[string]string{"messages": path + "/Messages.json", "incoming_phone_numbers": path + "/IncomingPhoneNumbers.json"},
		"uri":              c.path,
	}}
}

// fetchBalance shows an account that has not paid (api.v2010.account.balance).
func (s *API) fetchBalance(call) answer {
	return answer{status: http.StatusOK, body: map[string]string{"account_sid": s.account.sid, "balance": "0.00", "currency": "USD"}}
}

// createFeedback takes what a client says of a message, and keeps nothing of it
// (api.v2010.account.message.message_feedback).
func (s *API) createFeedback(c call) answer {
	if s.account.messages[c.message] == nil {
		return notFound(c.path)
	}
	now := date(time.Now())
	return answer{status: http.StatusCreated, body: map[string]string{
		"account_sid": s.account.sid, "date_created": now, "date_updated": now, "message_sid": c.message,
		"outcome": c.form.Get("Outcome"), "uri": c.path,
	}}
}

// listNumbers shows of phone numbers what concerns messages.
func (s *API) listNumbers(c call) answer {
	numbers := map[string]Number{}
	all := records{name: "incoming_phone_numbers"}
	for i, n := range s.account.numbers {
		sid := fmt.Sprintf("PN%032x", i+1)
		numbers[sid] = n
		all.sids = append(all.sids, sid)
	}
	wanted := c.query.Get("PhoneNumber")
	all.listed = func(sid string) bool { return wanted == "" || numbers[sid].PhoneNumber == wanted }
	all.view = func(sid string) any {
		n := numbers[sid]
		return map[string]any{
			"account_sid": s.account.sid, "api_version": apiVersion, "sid": sid, "friendly_name": n.PhoneNumber, "phone_number": n.PhoneNumber,
			"capabilities": map[string]bool{"mms": true, "sms": true, "voice": false, "fax": false},
			"sms_url":      n.SMSURL, "sms_method": cmp.Or(n.SMSMethod, http.MethodPost),
			"sms_fallback_url": n.SMSFallbackURL, "sms_fallback_method": http.MethodPost,
			"date_created": date(time.Unix(0, 0)), "date_updated": date(time.Unix(0, 0)),
			"uri": accountsPath + s.account.sid + "/IncomingPhoneNumbers/" + sid + ".json",
		}
	}
	return s.list(c, all)
}

// listMessages shows the newest first. Of a message that is not sent yet, the
// filters take the time at which it was made.
func (s *API) listMessages(c call) answer {
	admits, ok := dateFilter(c.query, "DateSent")
	if !ok {
		return invalid(20001, "Invalid date value.")
	}
	to, from := c.query.Get("To"), c.query.Get("From")
	newest := slices.Clone(s.account.history)
	slices.Reverse(newest)
	return s.list(c, records{
		name: "messages", sids: newest,
		listed: func(sid string) bool {
			m := s.account.messages[sid]
			at := m.sent
			if at.IsZero() {
				at = m.created
			}
			return !m.deleted && (to == "" || m.to == to) && (from == "" || m.from == from) && admits(at)
		},
		view: func(sid string) any { return s.account.messageView(s.account.messages[sid]) },
	})
}

func (s *API) fetchMessage(c call) answer {
	m := s.account.message(c.message)
	if m == nil {
		return notFound(c.path)
	}
	return answer{status: http.StatusOK, body: s.account.messageView(m)}
}

func (s *API) deleteMessage(c call) answer {
	m := s.account.message(c.message)
	if m == nil {
		return notFound(c.path)
	}
	if rank[m.status] < rank["sent"] {
		return answer{status: http.StatusConflict, code: 20009, message: "Cannot delete message because delivery has not been completed."}
	}
	m.deleted = true
	for _, h := range m.media {
		h.deleted = true
		s.cdn.Delete(h.object)
	}
	s.account.deleted = append(s.account.deleted, m.sid)
	return answer{status: http.StatusNoContent}
}

func (s *API) listMedia(c call) answer {
	m := s.account.message(c.message)
	if m == nil {
		return notFound(c.path)
	}
	admits, ok := dateFilter(c.query, "DateCreated")
	if !ok {
		return invalid(20001, "Invalid date value.")
	}
	all := records{
		name: "media_list",
		listed: func(sid string) bool {
			return s.account.media[sid].isThere() && admits(s.account.media[sid].object.Modified)
		},
		view: func(sid string) any { return s.account.mediaView(s.account.media[sid]) },
	}
	for _, h := range m.media {
		all.sids = append(all.sids, h.sid)
	}
	a := s.list(c, all)
	m.late = max(m.late-1, 0)
	return a
}

func (s *API) fetchMedia(c call) answer {
	h := s.account.medium(c.message, c.media)
	if h == nil {
		return notFound(c.path)
	}
	return answer{status: http.StatusOK, body: s.account.mediaView(h)}
}

func (s *API) deleteMedia(c call) answer {
	h := s.account.medium(c.message, c.media)
	if h == nil {
		return notFound(c.path)
	}
	h.deleted = true
	s.cdn.Delete(h.object)
	s.account.deleted = append(s.account.deleted, h.sid)
	return answer{status: http.StatusNoContent}
}
