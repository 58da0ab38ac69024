"""Label words and descriptions of the built-in tasks, written by hand.

For each class of the data: its name here, the label word that a language model answers with, and the description whose
embedding stands for the class in a pooled read-out. A task's label words begin with different tokens in common
tokenisers. A class of the data that is not listed is left out of the task.
"""

from __future__ import annotations

from typing import NamedTuple


class ClassLabel(NamedTuple):
    """Name, label word and description of one class."""

    name: str
    word: str
    description: str


TREC6 = {
    "ABBR": ClassLabel("abbreviation", "abbreviation", "what does this abbreviation stand for?"),
    "DESC": ClassLabel("description", "description", "what is it and why?"),
    "ENTY": ClassLabel("entity", "thing", "what thing is called that?"),
    "HUM": ClassLabel("human", "person", "who is the person?"),
    "LOC": ClassLabel("location", "place", "where is the place?"),
    "NUM": ClassLabel("number", "number", "how many, how much or when?"),
}
TWEETS = {
    "negative": ClassLabel("negative", "negative", "a complaint"),
    "positive": ClassLabel("positive", "positive", "praise"),
}
SMS = {
    "ham": ClassLabel("ham", "personal", "a personal message to a friend"),
    "spam": ClassLabel("spam", "spam", "an advertisement for a prize, a ringtone or an offer"),
}
BBC = {
    "business": ClassLabel("business", "business", "business and economy news"),
    "entertainment": ClassLabel("entertainment", "entertainment", "film, music and television news"),
    "politics": ClassLabel("politics", "politics", "politics and government news"),
    "sports": ClassLabel("sport", "sport", "sports news"),
    "tech": ClassLabel("technology", "technology", "technology and computer news"),
}
YAHOO = {
    "Business & Finance": ClassLabel("business", "business", "business and finance"),
    "Computers & Internet": ClassLabel("computers", "computer", "computers and the internet"),
    "Education & Reference": ClassLabel("education", "education", "school and education"),
    "Entertainment & Music": ClassLabel("entertainment", "music", "films, television and music"),
    "Family & Relationships": ClassLabel("family", "family", "love, family and relationships"),
    "Health": ClassLabel("health", "health", "health and medicine"),
    "Politics & Government": ClassLabel("politics", "politics", "politics and government"),
    "Science & Mathematics": ClassLabel("science", "science", "science and mathematics"),
    "Society & Culture": ClassLabel("society", "religion", "society, culture and religion"),
    "Sports": ClassLabel("sports", "sports", "sports and games"),
}
STACKOVERFLOW = {
    "ajax": ClassLabel("ajax", "ajax", "AJAX web requests"),
    "apache": ClassLabel("apache", "apache", "the Apache web server"),
    "bash": ClassLabel("bash", "bash", "a Bash shell script"),
    "cocoa": ClassLabel("cocoa", "cocoa", "Cocoa and Objective-C"),
    "drupal": ClassLabel("drupal", "drupal", "a Drupal module"),
    "excel": ClassLabel("excel", "excel", "an Excel spreadsheet"),
    "haskell": ClassLabel("haskell", "haskell", "Haskell functional programming"),
    "hibernate": ClassLabel("hibernate", "hibernate", "Hibernate object mapping in Java"),
    "linq": ClassLabel("linq", "linq", "a LINQ query in C#"),
    "magento": ClassLabel("magento", "magento", "a Magento shop"),
    "matlab": ClassLabel("matlab", "matlab", "MATLAB matrices and plots"),
    "oracle": ClassLabel("oracle", "oracle", "an Oracle database"),
    "osx": ClassLabel("osx", "mac", "a Mac with OS X"),
    "qt": ClassLabel("qt", "qt", "the Qt framework in C++"),
    "scala": ClassLabel("scala", "scala", "the Scala language"),
    "sharepoint": ClassLabel("sharepoint", "sharepoint", "a SharePoint site"),
    "spring": ClassLabel("spring", "spring", "the Spring framework in Java"),
    "svn": ClassLabel("svn", "subversion", "SVN version control"),
    "visual-studio": ClassLabel("visual studio", "visual", "Visual Studio"),
    "wordpress": ClassLabel("wordpress", "wordpress", "a WordPress blog"),
}
DBPEDIA = {
    "event": ClassLabel("event", "event", "an event, a tournament or a battle"),
    "organisation": ClassLabel("organisation", "organization", "an organization, a company or a club"),
    "person": ClassLabel("person", "person", "a person who was born"),
    "place": ClassLabel("place", "place", "a place, a building or a river"),
    "season": ClassLabel("season", "season", "a team's season and its results"),
    "species": ClassLabel("species", "species", "a species of animals or plants"),
    "work": ClassLabel("work", "work", "an album, a book or a video game"),
}
HWU = {
    "alarm": ClassLabel("alarm", "alarm", "an alarm clock"),
    "audio": ClassLabel("audio", "volume", "the volume of the speaker"),
    "calendar": ClassLabel("calendar", "calendar", "a calendar, an event or a meeting"),
    "cooking": ClassLabel("cooking", "recipe", "cooking a recipe"),
    "datetime": ClassLabel("date and time", "time", "the time and the date"),
    "email": ClassLabel("email", "email", "an email or a contact"),
    "general": ClassLabel("general", "chat", "a chat with the assistant"),
    "iot": ClassLabel("home", "light", "the lights and appliances of a home"),
    "lists": ClassLabel("lists", "list", "an item on a list"),
    "music": ClassLabel("music taste", "music", "a song that I like"),
    "news": ClassLabel("news", "news", "the news headlines"),
    "play": ClassLabel("play", "play", "play a song, a podcast, the radio or a game"),
    "qa": ClassLabel("facts", "fact", "a fact, a definition or a calculation"),
    "recommendation": ClassLabel("recommendation", "suggestion", "recommend a restaurant, a film or an event nearby"),
    "social": ClassLabel("social media", "social", "a post on Twitter or Facebook"),
    "takeaway": ClassLabel("takeaway", "food", "takeaway food delivery"),
    "transport": ClassLabel("transport", "travel", "a train, a taxi or the traffic"),
    "weather": ClassLabel("weather", "weather", "the weather"),
}
MCID = {
    "can i get from feces animal pets": ClassLabel("animals", "animal", "catching the virus from animals and pets"),
    "can i get from packages surfaces": ClassLabel(
        "surfaces", "surface", "catching the virus from packages and surfaces"
    ),
    "donate": ClassLabel("donate", "donation", "donating money"),
    "hi": ClassLabel("greeting", "hello", "hello, good morning"),
    "how does corona spread": ClassLabel("spread", "spread", "how the virus spreads"),
    "latest numbers": ClassLabel("numbers", "number", "the number of cases and deaths"),
    "myths": ClassLabel("myths", "myth", "myths and rumours"),
    "news and press": ClassLabel("news", "news", "the latest news and press"),
    "okay thanks": ClassLabel("thanks", "thanks", "okay, thank you"),
    "protect yourself": ClassLabel("protection", "protection", "how to protect yourself"),
    "share": ClassLabel("share", "share", "sharing with friends"),
    "travel": ClassLabel("travel", "travel", "travelling and flights"),
    "what are symptoms": ClassLabel("symptoms", "symptom", "the symptoms of the disease"),
    "what are treatment options": ClassLabel("treatment", "treatment", "a treatment, a cure or a vaccine"),
    "what if i visited high risk area": ClassLabel("risk", "risk", "visiting a high risk area"),
    "what is corona": ClassLabel("virus", "virus", "what the coronavirus is"),
}
BANKING = {
    "age_limit": ClassLabel("age limit", "age", "how old I must be to open an account"),
    "apple_pay_or_google_pay": ClassLabel("apple or google pay", "apple", "Apple Pay and Google Pay"),
    "beneficiary_not_allowed": ClassLabel("beneficiary", "beneficiary", "a beneficiary is not allowed"),
    "cancel_transfer": ClassLabel("cancel transfer", "cancel", "cancel a transfer"),
    "card_arrival": ClassLabel("card arrival", "arrival", "my card has not arrived yet"),
    "card_swallowed": ClassLabel("card swallowed", "machine", "the cash machine kept my card"),
    "change_pin": ClassLabel("change PIN", "pin", "changing my PIN"),
    "compromised_card": ClassLabel("compromised card", "fraud", "somebody else is using my card"),
    "contactless_not_working": ClassLabel("contactless", "contact", "contactless payment does not work"),
    "country_support": ClassLabel("countries", "country", "which countries are supported"),
    "edit_personal_details": ClassLabel("personal details", "address", "changing my name or my address"),
    "exchange_rate": ClassLabel("exchange rate", "exchange", "the exchange rate"),
    "lost_or_stolen_phone": ClassLabel("lost phone", "phone", "my phone was lost or stolen"),
    "passcode_forgotten": ClassLabel("passcode", "password", "I forgot my passcode"),
    "request_refund": ClassLabel("refund", "refund", "I want a refund"),
    "terminate_account": ClassLabel("close account", "close", "closing my account"),
    "top_up_limits": ClassLabel("top-up limits", "limit", "the limit of top-ups"),
    "transaction_charged_twice": ClassLabel("charged twice", "twice", "I was charged twice"),
    "verify_my_identity": ClassLabel("identity", "identity", "verifying my identity"),
    "visa_or_mastercard": ClassLabel("visa or mastercard", "visa", "Visa or Mastercard"),
}
CLINC = {
    "alarm": ClassLabel("alarm", "alarm", "set an alarm"),
    "book_flight": ClassLabel("flight", "flight", "book a flight"),
    "book_hotel": ClassLabel("hotel", "hotel", "book a hotel"),
    "calories": ClassLabel("calories", "calorie", "how many calories are in food"),
    "credit_score": ClassLabel("credit score", "credit", "my credit score"),
    "definition": ClassLabel("definition", "meaning", "the meaning of a word"),
    "distance": ClassLabel("distance", "distance", "how far it is to a place"),
    "exchange_rate": ClassLabel("exchange rate", "currency", "the exchange rate between currencies"),
    "find_phone": ClassLabel("find phone", "phone", "find my lost phone"),
    "flip_coin": ClassLabel("coin", "coin", "flip a coin"),
    "goodbye": ClassLabel("goodbye", "goodbye", "goodbye, see you later"),
    "insurance": ClassLabel("insurance", "insurance", "my insurance policy"),
    "lost_luggage": ClassLabel("luggage", "luggage", "my luggage is lost"),
    "make_call": ClassLabel("call", "call", "call somebody on the phone"),
    "next_holiday": ClassLabel("holiday", "holiday", "when the next holiday is"),
    "payday": ClassLabel("payday", "salary", "when I get paid"),
    "play_music": ClassLabel("music", "music", "play music"),
    "recipe": ClassLabel("recipe", "recipe", "a recipe for a dish"),
    "roll_dice": ClassLabel("dice", "dice", "roll dice"),
    "shopping_list": ClassLabel("shopping list", "shopping", "my shopping list"),
    "smart_home": ClassLabel("lights", "light", "the lights at home"),
    "spelling": ClassLabel("spelling", "spelling", "how a word is spelled"),
    "taxes": ClassLabel("taxes", "tax", "the taxes I pay"),
    "tell_joke": ClassLabel("joke", "joke", "tell a joke"),
    "timer": ClassLabel("timer", "timer", "set a timer"),
    "traffic": ClassLabel("traffic", "traffic", "the traffic on the way"),
    "translate": ClassLabel("translation", "translation", "translate into another language"),
    "uber": ClassLabel("ride", "taxi", "get me an uber"),
    "vaccines": ClassLabel("vaccines", "vaccine", "shots and vaccines before a journey"),
    "weather": ClassLabel("weather", "weather", "the weather forecast"),
}
SAME_INTENT = {
    "different": ClassLabel("different", "no", "two different requests"),
    "same": ClassLabel("same", "yes", "the same request twice"),
}
SAME_QUESTION = {
    "different": ClassLabel("different", "no", "two different questions"),
    "same": ClassLabel("same", "yes", "the same question twice"),
}
