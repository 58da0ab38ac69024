"""Label words and descriptions of the built-in tasks, written by hand.

For each class of the data: its name here, the label word that a language model answers with, and the description whose
embedding stands for the class in a pooled read-out. A task's label words begin with different tokens in common
tokenisers. A class of the data that is not listed is left out of the task.
"""

from __future__ import annotations

from typing import NamedTuple


class Label(NamedTuple):
    """How one class is put into words."""

    name: str
    word: str
    description: str


TREC6 = {
    "ABBR": Label("abbreviation", "abbreviation", "what does this abbreviation stand for?"),
    "DESC": Label("description", "description", "what is it and why?"),
    "ENTY": Label("entity", "thing", "what thing is called that?"),
    "HUM": Label("human", "person", "who is the person?"),
    "LOC": Label("location", "place", "where is the place?"),
    "NUM": Label("number", "number", "how many, how much or when?"),
}
TWEETS = {
    "negative": Label("negative", "negative", "a complaint"),
    "positive": Label("positive", "positive", "praise"),
}
SMS = {
    "ham": Label("ham", "personal", "a personal message to a friend"),
    "spam": Label("spam", "spam", "an advertisement for a prize, a ringtone or an offer"),
}
BBC = {
    "business": Label("business", "business", "business and economy news"),
    "entertainment": Label("entertainment", "entertainment", "film, music and television news"),
    "politics": Label("politics", "politics", "politics and government news"),
    "sports": Label("sport", "sport", "sports news"),
    "tech": Label("technology", "technology", "technology and computer news"),
}
YAHOO = {
    "Business & Finance": Label("business", "business", "business and finance"),
    "Computers & Internet": Label("computers", "computer", "computers and the internet"),
    "Education & Reference": Label("education", "education", "school and education"),
    "Entertainment & Music": Label("entertainment", "music", "films, television and music"),
    "Family & Relationships": Label("family", "family", "love, family and relationships"),
    "Health": Label("health", "health", "health and medicine"),
    "Politics & Government": Label("politics", "politics", "politics and government"),
    "Science & Mathematics": Label("science", "science", "science and mathematics"),
    "Society & Culture": Label("society", "religion", "society, culture and religion"),
    "Sports": Label("sports", "sports", "sports and games"),
}
STACKOVERFLOW = {
    "ajax": Label("ajax", "ajax", "AJAX web requests"),
    "apache": Label("apache", "apache", "the Apache web server"),
    "bash": Label("bash", "bash", "a Bash shell script"),
    "cocoa": Label("cocoa", "cocoa", "Cocoa and Objective-C"),
    "drupal": Label("drupal", "drupal", "a Drupal module"),
    "excel": Label("excel", "excel", "an Excel spreadsheet"),
    "haskell": Label("haskell", "haskell", "Haskell functional programming"),
    "hibernate": Label("hibernate", "hibernate", "Hibernate object mapping in Java"),
    "linq": Label("linq", "linq", "a LINQ query in C#"),
    "magento": Label("magento", "magento", "a Magento shop"),
    "matlab": Label("matlab", "matlab", "MATLAB matrices and plots"),
    "oracle": Label("oracle", "oracle", "an Oracle database"),
    "osx": Label("osx", "mac", "a Mac with OS X"),
    "qt": Label("qt", "qt", "the Qt framework in C++"),
    "scala": Label("scala", "scala", "the Scala language"),
    "sharepoint": Label("sharepoint", "sharepoint", "a SharePoint site"),
    "spring": Label("spring", "spring", "the Spring framework in Java"),
    "svn": Label("svn", "subversion", "SVN version control"),
    "visual-studio": Label("visual studio", "visual", "Visual Studio"),
    "wordpress": Label("wordpress", "wordpress", "a WordPress blog"),
}
DBPEDIA = {
    "event": Label("event", "event", "an event, a tournament or a battle"),
    "organisation": Label("organisation", "organization", "an organization, a company or a club"),
    "person": Label("person", "person", "a person who was born"),
    "place": Label("place", "place", "a place, a building or a river"),
    "season": Label("season", "season", "a team's season and its results"),
    "species": Label("species", "species", "a species of animals or plants"),
    "work": Label("work", "work", "an album, a book or a video game"),
}
HWU = {
    "alarm": Label("alarm", "alarm", "an alarm clock"),
    "audio": Label("audio", "volume", "the volume of the speaker"),
    "calendar": Label("calendar", "calendar", "a calendar, an event or a meeting"),
    "cooking": Label("cooking", "recipe", "cooking a recipe"),
    "datetime": Label("date and time", "time", "the time and the date"),
    "email": Label("email", "email", "an email or a contact"),
    "general": Label("general", "chat", "a chat with the assistant"),
    "iot": Label("home", "light", "the lights and appliances of a home"),
    "lists": Label("lists", "list", "an item on a list"),
    "music": Label("music taste", "music", "a song that I like"),
    "news": Label("news", "news", "the news headlines"),
    "play": Label("play", "play", "play a song, a podcast, the radio or a game"),
    "qa": Label("facts", "fact", "a fact, a definition or a calculation"),
    "recommendation": Label("recommendation", "suggestion", "recommend a restaurant, a film or an event nearby"),
    "social": Label("social media", "social", "a post on Twitter or Facebook"),
    "takeaway": Label("takeaway", "food", "takeaway food delivery"),
    "transport": Label("transport", "travel", "a train, a taxi or the traffic"),
    "weather": Label("weather", "weather", "the weather"),
}
MCID = {
    "can i get from feces animal pets": Label("animals", "animal", "catching the virus from animals and pets"),
    "can i get from packages surfaces": Label("surfaces", "surface", "catching the virus from packages and surfaces"),
    "donate": Label("donate", "donation", "donating money"),
    "hi": Label("greeting", "hello", "hello, good morning"),
    "how does corona spread": Label("spread", "spread", "how the virus spreads"),
    "latest numbers": Label("numbers", "number", "the number of cases and deaths"),
    "myths": Label("myths", "myth", "myths and rumours"),
    "news and press": Label("news", "news", "the latest news and press"),
    "okay thanks": Label("thanks", "thanks", "okay, thank you"),
    "protect yourself": Label("protection", "protection", "how to protect yourself"),
    "share": Label("share", "share", "sharing with friends"),
    "travel": Label("travel", "travel", "travelling and flights"),
    "what are symptoms": Label("symptoms", "symptom", "the symptoms of the disease"),
    "what are treatment options": Label("treatment", "treatment", "a treatment, a cure or a vaccine"),
    "what if i visited high risk area": Label("risk", "risk", "visiting a high risk area"),
    "what is corona": Label("virus", "virus", "what the coronavirus is"),
}
BANKING = {
    "age_limit": Label("age limit", "age", "how old I must be to open an account"),
    "apple_pay_or_google_pay": Label("apple or google pay", "apple", "Apple Pay and Google Pay"),
    "beneficiary_not_allowed": Label("beneficiary", "beneficiary", "a beneficiary is not allowed"),
    "cancel_transfer": Label("cancel transfer", "cancel", "cancel a transfer"),
    "card_arrival": Label("card arrival", "arrival", "my card has not arrived yet"),
    "card_swallowed": Label("card swallowed", "machine", "the cash machine kept my card"),
    "change_pin": Label("change PIN", "pin", "changing my PIN"),
    "compromised_card": Label("compromised card", "fraud", "somebody else is using my card"),
    "contactless_not_working": Label("contactless", "contact", "contactless payment does not work"),
    "country_support": Label("countries", "country", "which countries are supported"),
    "edit_personal_details": Label("personal details", "address", "changing my name or my address"),
    "exchange_rate": Label("exchange rate", "exchange", "the exchange rate"),
    "lost_or_stolen_phone": Label("lost phone", "phone", "my phone was lost or stolen"),
    "passcode_forgotten": Label("passcode", "password", "I forgot my passcode"),
    "request_refund": Label("refund", "refund", "I want a refund"),
    "terminate_account": Label("close account", "close", "closing my account"),
    "top_up_limits": Label("top-up limits", "limit", "the limit of top-ups"),
    "transaction_charged_twice": Label("charged twice", "twice", "I was charged twice"),
    "verify_my_identity": Label("identity", "identity", "verifying my identity"),
    "visa_or_mastercard": Label("visa or mastercard", "visa", "Visa or Mastercard"),
}
CLINC = {
    "alarm": Label("alarm", "alarm", "set an alarm"),
    "book_flight": Label("flight", "flight", "book a flight"),
    "book_hotel": Label("hotel", "hotel", "book a hotel"),
    "calories": Label("calories", "calorie", "how many calories are in food"),
    "credit_score": Label("credit score", "credit", "my credit score"),
    "definition": Label("definition", "meaning", "the meaning of a word"),
    "distance": Label("distance", "distance", "how far it is to a place"),
    "exchange_rate": Label("exchange rate", "currency", "the exchange rate between currencies"),
    "find_phone": Label("find phone", "phone", "find my lost phone"),
    "flip_coin": Label("coin", "coin", "flip a coin"),
    "goodbye": Label("goodbye", "goodbye", "goodbye, see you later"),
    "insurance": Label("insurance", "insurance", "my insurance policy"),
    "lost_luggage": Label("luggage", "luggage", "my luggage is lost"),
    "make_call": Label("call", "call", "call somebody on the phone"),
    "next_holiday": Label("holiday", "holiday", "when the next holiday is"),
    "payday": Label("payday", "salary", "when I get paid"),
    "play_music": Label("music", "music", "play music"),
    "recipe": Label("recipe", "recipe", "a recipe for a dish"),
    "roll_dice": Label("dice", "dice", "roll dice"),
    "shopping_list": Label("shopping list", "shopping", "my shopping list"),
    "smart_home": Label("lights", "light", "the lights at home"),
    "spelling": Label("spelling", "spelling", "how a word is spelled"),
    "taxes": Label("taxes", "tax", "the taxes I pay"),
    "tell_joke": Label("joke", "joke", "tell a joke"),
    "timer": Label("timer", "timer", "set a timer"),
    "traffic": Label("traffic", "traffic", "the traffic on the way"),
    "translate": Label("translation", "translation", "translate into another language"),
    "uber": Label("ride", "taxi", "get me an uber"),
    "vaccines": Label("vaccines", "vaccine", "shots and vaccines before a journey"),
    "weather": Label("weather", "weather", "the weather forecast"),
}
SAME_INTENT = {
    "different": Label("different", "no", "two different requests"),
    "same": Label("same", "yes", "the same request twice"),
}
SAME_QUESTION = {
    "different": Label("different", "no", "two different questions"),
    "same": Label("same", "yes", "the same question twice"),
}
